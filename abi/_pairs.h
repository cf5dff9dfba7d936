/* The wire form of header maps, and which headers may be sent: what anywasm.abi.pairs and
 * anywasm.abi.fields say in Python. Whatever is wrong is left to these, which name it. */

#ifndef ANYWASM_PAIRS_H
#define ANYWASM_PAIRS_H

#include "_headers.h"
#include <string.h>

/* --- fields ------------------------------------------------------------------------------------- */

static char in_names[256]; /* whether a token may hold it */

static void fill_names(void) {
    for (const char *at = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
         *at; at++)
        in_names[(unsigned char)*at] = 1;
}

/* As `valid_field`. */
static int is_field(PyObject *name, PyObject *value) {
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(name);
    const unsigned char *end = at + PyBytes_GET_SIZE(name);
    at += *at == ':';
    if (at >= end)
        return 0;
    for (; at < end; at++)
        if (!in_names[*at])
            return 0;
    const char *bytes = PyBytes_AS_STRING(value);
    size_t size = (size_t)PyBytes_GET_SIZE(value);
    return memchr(bytes, '\n', size) == NULL && memchr(bytes, '\r', size) == NULL &&
           memchr(bytes, '\0', size) == NULL;
}

/* --- serialized --------------------------------------------------------------------------------- */

static inline char *put_u32(char *to, Py_ssize_t number) {
    uint32_t bits = (uint32_t)number;
    memcpy(to, &bits, 4);
    return to + 4;
}

static inline uint32_t get_u32(const char *from) {
    uint32_t bits;
    memcpy(&bits, from, 4);
    return bits;
}

static inline char *put_bytes(char *to, PyObject *bytes) {
    Py_ssize_t size = PyBytes_GET_SIZE(bytes);
    memcpy(to, PyBytes_AS_STRING(bytes), (size_t)size + 1); /* with the NUL that stands behind */
    return to + size + 1;
}

/* As `encode_pairs`; NULL where there are no bytes in pairs, or too many. */
static PyObject *encode_map(HeaderMap *map) {
    Py_ssize_t size = map_bytes(map), count = size < 0 ? 0 : PyList_GET_SIZE(map->pairs);
    /* So much would fit into no guest, and its lengths not into 32 bits. */
    if (size < 0 || size > INT32_MAX || count > INT32_MAX / 16)
        return NULL;
    if (count == 0)
        return PyBytes_FromStringAndSize(NULL, 0);
    PyObject *made = PyBytes_FromStringAndSize(NULL, 4 + 10 * count + size);
    if (made == NULL)
        return NULL;
    char *head = put_u32(PyBytes_AS_STRING(made), count), *body = head + 8 * count;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyList_GET_ITEM(map->pairs, i);
        PyObject *name = PyTuple_GET_ITEM(pair, 0), *value = PyTuple_GET_ITEM(pair, 1);
        head = put_u32(put_u32(head, PyBytes_GET_SIZE(name)), PyBytes_GET_SIZE(value));
        body = put_bytes(put_bytes(body, name), value);
    }
    return made;
}

static PyObject *read_pair(const char *name, uint32_t name_size, const char *value,
                           uint32_t value_size) {
    PyObject *pair = PyTuple_New(2);
    if (pair == NULL)
        return NULL;
    PyTuple_SET_ITEM(pair, 0, PyBytes_FromStringAndSize(name, (Py_ssize_t)name_size));
    PyTuple_SET_ITEM(pair, 1, PyBytes_FromStringAndSize(value, (Py_ssize_t)value_size));
    if (PyTuple_GET_ITEM(pair, 0) == NULL || PyTuple_GET_ITEM(pair, 1) == NULL)
        Py_CLEAR(pair);
    return pair;
}

/* Appends the pairs of a serialized map, which is no more than so many; -1 where anything is wrong
 * with them or one is no valid field, or with an exception. */
static int read_pairs(PyObject *list, const char *data, uint64_t size, uint64_t most) {
    if (size == 0 || (size == 1 && *data == '\0'))
        return 0;
    if (size < 4)
        return -1;
    uint64_t count = get_u32(data), at = 4 + 8 * count;
    if (count > most || at > size)
        return -1;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t name = get_u32(data + 4 + 8 * i), value = get_u32(data + 8 + 8 * i);
        uint64_t middle = at + name, end = middle + 1 + value;
        if (end >= size || data[middle] || data[end])
            return -1;
        PyObject *pair = read_pair(data + at, name, data + middle + 1, value);
        int bad = pair == NULL ||
                  !is_field(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)) ||
                  PyList_Append(list, pair) < 0;
        Py_XDECREF(pair);
        if (bad)
            return -1;
        at = end + 1;
    }
    return at == size ? 0 : -1;
}

/* As `decode_pairs` with valid fields only, else NULL, be it with an exception. */
static PyObject *decode_map(PyObject *data, Py_ssize_t most_pairs, Py_ssize_t most_bytes) {
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    PyObject *list = most_pairs < 0 || size > most_bytes ? NULL : PyList_New(0);
    if (list != NULL && read_pairs(list, PyBytes_AS_STRING(data), (uint64_t)size,
                                   (uint64_t)most_pairs) < 0)
        Py_CLEAR(list);
    return list;
}

#endif
