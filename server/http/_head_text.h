/* What the bytes of a head may be, and the header names that are known (RFC 9110, 5.5 and 5.6.2). */

#ifndef ANYWASM_HEAD_TEXT_H
#define ANYWASM_HEAD_TEXT_H

#include <Python.h>

#include <stdint.h>
#include <string.h>

/* In lower case what may stand in a name; zero for all else. */
static unsigned char lower[256];

static void text_find(void) {
    for (int c = '0'; c <= '9'; c++)
        lower[c] = (unsigned char)c;
    for (int c = 'a'; c <= 'z'; c++)
        lower[c] = lower[c - 'a' + 'A'] = (unsigned char)c;
    for (const char *c = "!#$%&'*+-.^_`|~"; *c; c++)
        lower[(unsigned char)*c] = (unsigned char)*c;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
/* Whether one of eight bytes is zero, or less than `limit` (at most 128). */
#define ANY_ZERO(eight) (((eight) - EACH(1)) & ~(eight) & EACH(0x80))
#define ANY_BELOW(eight, limit) (((eight) - EACH(limit)) & ~(eight) & EACH(0x80))

/* The first control character, DEL among them, or `end`. */
static inline const char *find_control(const char *at, const char *end) {
    uint64_t eight;
    while (end - at >= 8) {
        memcpy(&eight, at, 8);
        if (ANY_BELOW(eight, 0x20) | ANY_ZERO(eight ^ EACH(0x7f)))
            break;
        at += 8;
    }
    while (at < end && (unsigned char)*at >= 0x20 && *at != 0x7f)
        at++;
    return at;
}

/* Whether a name, in any case, is this one, which is in lower case and as long. */
static inline int is_same(const char *name, const char *known, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if (lower[(unsigned char)name[i]] != (unsigned char)known[i])
            return 0;
    return 1;
}

/* A number of so few digits that it fits; -1 for anything else. */
static long long decimal(const char *at, Py_ssize_t size) {
    long long number = 0;
    if (size == 0 || size > 18)
        return -1;
    for (; size > 0; size--, at++) {
        if (*at < '0' || *at > '9')
            return -1;
        number = number * 10 + (*at - '0');
    }
    return number;
}

/* --- the names of requests ---------------------------------------------------------------------- */

/* ORDINARY ones say nothing of the body and the connection; RARE ones are llhttp's to judge. */
enum { ORDINARY, HOST, CONNECTION, CONTENT_LENGTH, RARE };

typedef struct {
    PyObject *name; /* bytes, in lower case; NULL in a free place */
    uint32_t hash;
    int kind;
} Known;

/* Names are looked for in so many places from theirs on. Clients use few but may invent more: those
 * that find no place are made anew each time. None is given up for another. */
#define PLACES 1024
#define TRIES 8
#define LONGEST_NAME 64

static Known known_names[PLACES];

static inline uint32_t hash_more(uint32_t hash, unsigned char byte) {
    return (hash ^ byte) * UINT32_C(16777619); /* FNV-1a */
}
#define HASH_START UINT32_C(2166136261)

/* The name, or a free place for it, or NULL. */
static inline Known *find_name(const char *name, Py_ssize_t size, uint32_t hash) {
    for (uint32_t i = 0; i < TRIES; i++) {
        Known *known = &known_names[((hash >> 16 ^ hash) + i) % PLACES];
        if (known->name == NULL)
            return known;
        if (known->hash == hash && PyBytes_GET_SIZE(known->name) == size &&
            is_same(name, PyBytes_AS_STRING(known->name), size))
            return known;
    }
    return NULL;
}

static PyObject *lower_name(const char *name, Py_ssize_t size) {
    PyObject *made = PyBytes_FromStringAndSize(NULL, size);
    if (made != NULL)
        for (Py_ssize_t i = 0; i < size; i++)
            PyBytes_AS_STRING(made)[i] = (char)lower[(unsigned char)name[i]];
    return made;
}

/* A new reference to a good name in lower case, which is kept where there is a place for it. */
static PyObject *learn_name(const char *name, Py_ssize_t size, uint32_t hash, int kind) {
    Known *known = find_name(name, size, hash);
    PyObject *made = known == NULL || known->name == NULL ? lower_name(name, size) : known->name;
    if (made == NULL)
        return NULL;
    if (known != NULL) {
        Py_INCREF(made);
        if (known->name == NULL)
            *known = (Known){made, hash, kind};
    }
    return made;
}

static int learn_first(const char *name, int kind) {
    uint32_t hash = HASH_START;
    for (const char *c = name; *c; c++)
        hash = hash_more(hash, (unsigned char)*c);
    PyObject *made = learn_name(name, (Py_ssize_t)strlen(name), hash, kind);
    Py_XDECREF(made);
    return made == NULL ? -1 : 0;
}

/* What means something comes first, and so finds a place. */
static int names_find(void) {
    static const char *const rare[] = {"transfer-encoding", "expect", "upgrade", "proxy-connection"};
    if (learn_first("host", HOST) < 0 || learn_first("connection", CONNECTION) < 0 ||
        learn_first("content-length", CONTENT_LENGTH) < 0)
        return -1;
    for (size_t i = 0; i < sizeof rare / sizeof *rare; i++)
        if (learn_first(rare[i], RARE) < 0)
            return -1;
    return 0;
}

#endif
