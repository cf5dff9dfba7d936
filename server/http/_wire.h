/* As anywasm.server.http.wire: what of a map's pairs goes onto the wire. Lists that hold anything but
 * pairs of bytes are left to Python. */

#ifndef ANYWASM_WIRE_H
#define ANYWASM_WIRE_H

#include "_head_text.h"

#define MOST_DIGITS 18

static PyObject *wire_in_python, *length_in_python;

/* What a message says of its body's length. */
typedef struct {
    int told;         /* how often */
    long long length; /* -1 for something else than a number */
} Declared;

static int is_wire_pair(PyObject *item) {
    return PyTuple_CheckExact(item) && PyTuple_GET_SIZE(item) == 2 &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(item, 0)) &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(item, 1));
}

static int is_text(PyObject *name, const char *text, size_t size) {
    return (size_t)PyBytes_GET_SIZE(name) == size && memcmp(PyBytes_AS_STRING(name), text, size) == 0;
}

#define IS(name, text) is_text(name, text, sizeof text - 1)

static int is_length(PyObject *name) {
    return IS(name, "content-length");
}

static long long read_length(PyObject *value) {
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    long long length = 0;
    if (size == 0 || size > MOST_DIGITS)
        return -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        char digit = PyBytes_AS_STRING(value)[i];
        if (digit < '0' || digit > '9')
            return -1;
        length = length * 10 + (digit - '0');
    }
    return length;
}

static void declare(Declared *declared, PyObject *pair) {
    if (is_length(PyTuple_GET_ITEM(pair, 0)))
        declared->length = declared->told++ ? -1 : read_length(PyTuple_GET_ITEM(pair, 1));
}

static PyObject *declared_answer(const Declared *declared) {
    if (declared->told)
        return PyLong_FromLongLong(declared->length);
    Py_RETURN_NONE;
}

/* Whether a header is not to go where the message goes. */
static int is_dropped(PyObject *name, int to_upstream) {
    if (PyBytes_GET_SIZE(name) > 0 && PyBytes_AS_STRING(name)[0] == ':')
        return 1;
    switch (PyBytes_GET_SIZE(name)) {
    case 4:
        return to_upstream && IS(name, "host");
    case 7:
        return IS(name, "upgrade");
    case 10:
        return IS(name, "connection") || IS(name, "keep-alive");
    case 16:
        return IS(name, "proxy-connection");
    case 17:
        return IS(name, "transfer-encoding");
    case 30:
        return to_upstream && IS(name, "x-envoy-expected-rq-timeout-ms");
    }
    return 0;
}

static PyObject *declared_length(PyObject *Py_UNUSED(module), PyObject *pairs) {
    Declared declared = {0, -1};
    int plain = PyList_CheckExact(pairs);
    for (Py_ssize_t i = 0; plain && i < PyList_GET_SIZE(pairs); i++) {
        plain = is_wire_pair(PyList_GET_ITEM(pairs, i));
        if (plain)
            declare(&declared, PyList_GET_ITEM(pairs, i));
    }
    return plain ? declared_answer(&declared) : PyObject_CallOneArg(length_in_python, pairs);
}

/* The headers that are left; NULL where Python has to look, or with an exception. */
static PyObject *left_fields(PyObject *pairs, int to_upstream, Declared *declared) {
    PyObject *fields = PyList_New(0);
    for (Py_ssize_t i = 0; fields != NULL && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        if (!is_wire_pair(pair)) {
            Py_CLEAR(fields);
        } else if (!is_dropped(PyTuple_GET_ITEM(pair, 0), to_upstream)) {
            declare(declared, pair);
            if (PyList_Append(fields, pair) < 0)
                Py_CLEAR(fields);
        }
    }
    return fields;
}

static PyObject *wire_fields(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Declared declared = {0, -1};
    int plain = count == 2 && PyList_CheckExact(args[0]) && PyBool_Check(args[1]);
    PyObject *fields = plain ? left_fields(args[0], args[1] == Py_True, &declared) : NULL;
    if (fields == NULL)
        return PyErr_Occurred() ? NULL : PyObject_Vectorcall(wire_in_python, args, (size_t)count, NULL);
    PyObject *length = declared_answer(&declared), *answer = NULL;
    if (length != NULL)
        answer = PyTuple_Pack(2, fields, length);
    Py_DECREF(fields);
    Py_XDECREF(length);
    return answer;
}

#endif
