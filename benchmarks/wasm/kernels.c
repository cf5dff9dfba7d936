/* Small computations, for WebAssembly engines and for the machine itself. Each takes a size and
   returns a number that depends on all of its work; kernels.py says the same in Python. */
#include <stdint.h>

#ifdef __wasm__
#define KERNEL(name) __attribute__((export_name(#name))) uint32_t name(uint32_t n)
#else
#define KERNEL(name) uint32_t name(uint32_t n)
#endif

#define MOST 65536u
static uint8_t bytes[MOST], text[2 * MOST], again[MOST];

static uint32_t bounded(uint32_t n, uint32_t most) { return n < most ? n : most; }
static void fill(uint32_t n) {
    for (uint32_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 7 + 3);
}

/* Fibonacci numbers, the slow way: calls. */
static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
KERNEL(fib) { return fibonacci(n); }

/* How many primes are below n: bytes and branches. */
KERNEL(sieve) {
    uint32_t found = 0;
    n = bounded(n, MOST);
    for (uint32_t i = 0; i < n; i++) bytes[i] = 1;
    for (uint32_t i = 2; i < n; i++) {
        if (!bytes[i]) continue;
        found++;
        for (uint32_t k = 2 * i; k < n; k += i) bytes[k] = 0;
    }
    return found;
}

/* The sum of the product of two n x n matrices: floating point. */
KERNEL(matrix) {
    static double a[64][64], b[64][64];
    double sum = 0;
    n = bounded(n, 64);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) a[i][k] = i + k, b[i][k] = i * k % 7;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) {
            double cell = 0;
            for (uint32_t m = 0; m < n; m++) cell += a[i][m] * b[m][k];
            sum += cell;
        }
    return (uint32_t)sum;
}

/* The first word of the SHA-256 of n bytes (FIPS 180-4): shifts and rotations. */
static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void digest(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
               block[3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 8; i++) s[i] = state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t one = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + rounds[i] + w[i];
        uint32_t two = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (int k = 7; k > 0; k--) s[k] = s[k - 1];
        s[4] += one, s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

KERNEL(sha256) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint32_t at = 0;
    uint8_t last[128];
    n = bounded(n, MOST);
    fill(n);
    for (; n - at >= 64; at += 64) digest(state, bytes + at);
    uint32_t rest = n - at, size = rest < 56 ? 64 : 128;
    for (uint32_t i = 0; i < size; i++) last[i] = i < rest ? bytes[at + i] : i == rest ? 0x80 : 0;
    for (int i = 1; i <= 4; i++) last[size - i] = (uint8_t)(n * 8u >> 8 * (i - 1));
    for (uint32_t i = 0; i < size; i += 64) digest(state, last + i);
    return state[0];
}

/* n bytes (a multiple of 3) to base64 and back: tables. */
KERNEL(base64) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static uint8_t values[128];
    uint32_t size = 0, sum = 0;
    n = bounded(n, MOST) / 3 * 3;
    fill(n);
    for (uint8_t i = 0; i < 64; i++) values[(uint8_t)letters[i]] = i;
    for (uint32_t i = 0; i < n; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int by = 18; by >= 0; by -= 6) text[size++] = (uint8_t)letters[three >> by & 63];
    }
    for (uint32_t i = 0, at = 0; i < size; i += 4) {
        uint32_t three = 0;
        for (int k = 0; k < 4; k++) three = three << 6 | values[text[i + k] & 127];
        for (int by = 16; by >= 0; by -= 8) again[at++] = (uint8_t)(three >> by);
    }
    for (uint32_t i = 0; i < size; i++) sum += text[i];
    for (uint32_t i = 0; i < n; i++) sum += again[i];
    return sum;
}

/* Writes n records as JSON and reads them: the sum of all numbers and lengths of strings. */
static uint8_t *put(uint8_t *to, const char *words) {
    while (*words) *to++ = (uint8_t)*words++;
    return to;
}
static uint8_t *put_number(uint8_t *to, uint32_t number) {
    uint8_t digits[10];
    int size = 0;
    do digits[size++] = (uint8_t)('0' + number % 10);
    while (number /= 10);
    while (size) *to++ = digits[--size];
    return to;
}

static const uint8_t *value(const uint8_t *at, uint32_t *sum);

static const uint8_t *string(const uint8_t *at, uint32_t *sum) {
    for (at++; *at != '"'; at++) ++*sum;
    return at + 1;
}
static const uint8_t *members(const uint8_t *at, uint32_t *sum) {
    uint8_t close = *at == '{' ? '}' : ']';
    while (*at++ != close) {
        if (close == '}') at = string(at, sum) + 1;
        at = value(at, sum);
    }
    return at;
}
static const uint8_t *value(const uint8_t *at, uint32_t *sum) {
    uint32_t number = 0;
    if (*at == '"') return string(at, sum);
    if (*at == '{' || *at == '[') return members(at, sum);
    for (; *at >= '0' && *at <= '9'; at++) number = number * 10 + *at - '0';
    *sum += number;
    return at;
}

KERNEL(json) {
    uint8_t *to = put(text, "[");
    uint32_t sum = 0;
    n = bounded(n, 1000);
    for (uint32_t i = 0; i < n; i++) {
        to = put_number(put(to, i ? ",{\"id\":" : "{\"id\":"), i);
        to = put_number(put(to, ",\"name\":\"item "), i);
        to = put(put_number(put(to, "\",\"sizes\":[1,"), i % 10), ",300]}");
    }
    *put(to, "]") = 0;
    if (n) value(text, &sum);
    return sum;
}
