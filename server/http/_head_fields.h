/* `encode_fields` of anywasm.server.http.fields: the same bytes. Whatever is not usual, and so every error, is
 * left to that. */

#ifndef ANYWASM_HEAD_FIELDS_H
#define ANYWASM_HEAD_FIELDS_H

#include "_head_text.h"

static PyObject *fields_in_python;

/* What the codec owns of a response, or has to know. */
enum { OTHER, LENGTH_OWNED, CONNECTION_OWNED, CODING_OWNED, DATE_OWNED, SERVER_OWNED };

typedef struct {
    PyObject **items;
    Py_ssize_t count;
    Py_ssize_t size;  /* of all lines */
    long long length; /* what `content-length` says, or -1 */
    int keep_length;  /* whether that is written */
    int dated, named; /* whether there is a `date`, and a `server` */
} Fields;

/* What a name is; -1 if it is none. */
static int kind_of(const char *name, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if (lower[(unsigned char)name[i]] == 0)
            return -1;
    switch (size) {
    case 0:
        return -1;
    case 4:
        return is_same(name, "date", size) ? DATE_OWNED : OTHER;
    case 6:
        return is_same(name, "server", size) ? SERVER_OWNED : OTHER;
    case 10:
        return is_same(name, "connection", size) ? CONNECTION_OWNED : OTHER;
    case 14:
        return is_same(name, "content-length", size) ? LENGTH_OWNED : OTHER;
    case 17:
        return is_same(name, "transfer-encoding", size) ? CODING_OWNED : OTHER;
    }
    return OTHER;
}

static int is_plain_value(const char *at, Py_ssize_t size) {
    const char *end = at + size;
    while ((at = find_control(at, end)) < end)
        if (*at++ != '\t')
            return 0;
    return 1;
}

/* Looks at headers; 0 if Python has to. Nothing runs from here to `write_fields` that could change them. */
static int measure(PyObject *headers, int keep_length, Fields *fields) {
    if (PyList_CheckExact(headers))
        fields->items = ((PyListObject *)headers)->ob_item;
    else if (PyTuple_CheckExact(headers))
        fields->items = ((PyTupleObject *)headers)->ob_item;
    else
        return 0;
    fields->count = Py_SIZE(headers);
    fields->size = 0;
    fields->length = -1;
    fields->keep_length = keep_length;
    fields->dated = fields->named = 0;
    for (Py_ssize_t i = 0; i < fields->count; i++) {
        PyObject *item = fields->items[i];
        if (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 2)
            return 0;
        PyObject *name = PyTuple_GET_ITEM(item, 0), *value = PyTuple_GET_ITEM(item, 1);
        if (!PyBytes_CheckExact(name) || !PyBytes_CheckExact(value))
            return 0;
        Py_ssize_t size = PyBytes_GET_SIZE(value);
        if (!is_plain_value(PyBytes_AS_STRING(value), size))
            return 0;
        switch (kind_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))) {
        case LENGTH_OWNED:
            if (fields->length >= 0)
                return 0;
            fields->length = decimal(PyBytes_AS_STRING(value), size);
            if (fields->length < 0)
                return 0;
            if (!keep_length)
                continue;
            break;
        case CODING_OWNED:
            continue;
        case DATE_OWNED:
            fields->dated = 1;
            break;
        case SERVER_OWNED:
            fields->named = 1;
            break;
        case CONNECTION_OWNED:
        case -1:
            return 0;
        }
        fields->size += PyBytes_GET_SIZE(name) + size + 4;
    }
    return 1;
}

static inline char *put(char *to, const char *from, Py_ssize_t size) {
    memcpy(to, from, (size_t)size);
    return to + size;
}

static inline char *put_bytes(char *to, PyObject *from) {
    return put(to, PyBytes_AS_STRING(from), PyBytes_GET_SIZE(from));
}

static char *write_fields(char *to, const Fields *fields) {
    for (Py_ssize_t i = 0; i < fields->count; i++) {
        PyObject *name = PyTuple_GET_ITEM(fields->items[i], 0);
        int kind = kind_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name));
        if (kind == CODING_OWNED || (kind == LENGTH_OWNED && !fields->keep_length))
            continue;
        to = put(put_bytes(to, name), ": ", 2);
        to = put(put_bytes(to, PyTuple_GET_ITEM(fields->items[i], 1)), "\r\n", 2);
    }
    return to;
}

static PyObject *encode_fields(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count,
                               PyObject *names) {
    Fields fields;
    if (count < 1 || count > 2 || names != NULL ||
        !measure(args[0], count < 2 || args[1] == Py_True, &fields) || (count == 2 && !PyBool_Check(args[1])))
        return PyObject_Vectorcall(fields_in_python, args, (size_t)count, names);
    PyObject *block = PyBytes_FromStringAndSize(NULL, fields.size);
    if (block == NULL)
        return NULL;
    write_fields(PyBytes_AS_STRING(block), &fields);
    if (fields.length < 0)
        return Py_BuildValue("NOOOO", block, Py_None, Py_False, fields.dated ? Py_True : Py_False,
                             fields.named ? Py_True : Py_False);
    return Py_BuildValue("NLOOO", block, fields.length, Py_False, fields.dated ? Py_True : Py_False,
                         fields.named ? Py_True : Py_False);
}

#endif
