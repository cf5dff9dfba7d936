/* One header of a message that is plain, whichever way it goes: found first, made when all is well. */

#ifndef ANYWASM_HEAD_SCAN_H
#define ANYWASM_HEAD_SCAN_H

#include "_head_text.h"

/* Headers at most; as in Python. */
#define MOST_FIELDS 128

typedef struct {
    const char *name, *value;
    Py_ssize_t name_size, value_size;
    Known *known; /* or NULL: a name that is not */
    uint32_t hash;
} Field;

static inline int starts(const char *at, const char *end, const char *text, Py_ssize_t size) {
    return end - at >= size && memcmp(at, text, (size_t)size) == 0;
}

/* Behind a header; NULL if it is not plain. */
static const char *scan_field(const char *at, const char *end, Field *field) {
    field->name = at;
    uint32_t hash = HASH_START;
    unsigned char byte;
    while (at < end && (byte = lower[(unsigned char)*at]) != 0) {
        hash = hash_more(hash, byte);
        at++;
    }
    field->name_size = at - field->name;
    field->hash = hash;
    if (field->name_size == 0 || field->name_size > LONGEST_NAME || at == end || *at++ != ':')
        return NULL;
    if (at < end && *at == ' ')
        at++;
    field->value = at;
    at = find_control(at, end);
    field->value_size = at - field->value;
    /* No whitespace around the value, which would have to be removed. */
    if (!starts(at, end, "\r\n", 2) || *field->value == ' ' || at[-1] == ' ')
        return NULL;
    return at + 2;
}

/* Whether the header's name is known; notes which it is. */
static int know(Field *field) {
    field->known = find_name(field->name, field->name_size, field->hash);
    if (field->known != NULL && field->known->name == NULL)
        field->known = NULL;
    return field->known != NULL;
}

static PyObject *make_field(const Field *field) {
    PyObject *name, *value, *made = NULL;
    if (field->known != NULL) {
        name = field->known->name;
        Py_INCREF(name);
    } else {
        name = learn_name(field->name, field->name_size, field->hash, ORDINARY);
    }
    value = name == NULL ? NULL : PyBytes_FromStringAndSize(field->value, field->value_size);
    if (value != NULL)
        made = PyTuple_New(2);
    if (made == NULL) {
        Py_XDECREF(name);
        Py_XDECREF(value);
        return NULL;
    }
    PyTuple_SET_ITEM(made, 0, name);
    PyTuple_SET_ITEM(made, 1, value);
    return made;
}

#endif
