/* Gives the tests the allocator of proxywasm.h by its own names, and a load to put on it. */
#include "proxywasm.h"

PW_EXPORT(test_free) void test_free(void *memory) { pw_free(memory); }

PW_EXPORT(test_grow) uint32_t test_grow(uint32_t pages) {
    return (uint32_t)__builtin_wasm_memory_grow(0, pages);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Plays `requests` requests, of which 64 are alive at any time and which end in random order. Each
 * holds one block of up to 2 KiB; returns how many blocks were refused or found overwritten. */
PW_EXPORT(test_churn) uint32_t test_churn(uint32_t requests) {
    static uint32_t *alive[64];
    uint32_t random = 1, bad = 0;
    for (uint32_t i = 0; i < requests; i++) {
        uint32_t slot = next_random(&random) % 64, words = 2 + next_random(&random) % 510;
        if (alive[slot]) {
            uint32_t *block = alive[slot], last = block[0] - 1;
            bad += last < 1 || last > 511 || block[last] != (uint32_t)(uintptr_t)block;
            pw_free(block);
        }
        uint32_t *block = (uint32_t *)pw_alloc(words * 4);
        alive[slot] = block;
        if (!block) {
            bad++;
            continue;
        }
        block[0] = words;
        block[words - 1] = (uint32_t)(uintptr_t)block;
    }
    for (uint32_t slot = 0; slot < 64; slot++) {
        pw_free(alive[slot]);
        alive[slot] = NULL;
    }
    return bad;
}
