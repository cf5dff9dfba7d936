/* `encode_request_head` of anywasm.server.upstream.head: the same bytes. Whatever is not usual, and so every
 * error, is left to that. */

#ifndef ANYWASM_UPSTREAM_HEAD_ENCODE_H
#define ANYWASM_UPSTREAM_HEAD_ENCODE_H

#include "../http/_head_text.h"

static PyObject *head_in_python, *no_number;

static inline int is_text(PyObject *value, const char *text, Py_ssize_t size) {
    return PyBytes_GET_SIZE(value) == size && memcmp(PyBytes_AS_STRING(value), text, (size_t)size) == 0;
}

/* Whether a name is one that says nothing of the body or the connection. */
static int is_plain_name(PyObject *name) {
    const char *text = PyBytes_AS_STRING(name);
    Py_ssize_t size = PyBytes_GET_SIZE(name);
    for (Py_ssize_t i = 0; i < size; i++)
        if (lower[(unsigned char)text[i]] == 0)
            return 0;
    switch (size) {
    case 0:
        return 0;
    case 10:
        return !is_same(text, "connection", size);
    case 14:
        return !is_same(text, "content-length", size);
    case 17:
        return !is_same(text, "transfer-encoding", size);
    }
    return 1;
}

/* Whether there is no control character but the tab. */
static int is_plain_value(PyObject *value) {
    const char *at = PyBytes_AS_STRING(value), *end = at + PyBytes_GET_SIZE(value);
    while ((at = find_control(at, end)) < end && *at == '\t')
        at++;
    return at == end;
}

static int is_plain_target(PyObject *target) {
    const char *at = PyBytes_AS_STRING(target);
    Py_ssize_t size = PyBytes_GET_SIZE(target);
    for (Py_ssize_t i = 0; i < size; i++)
        if ((unsigned char)at[i] <= ' ' || at[i] == 0x7f)
            return 0;
    return size > 0;
}

/* Bytes of the lines of headers; -1 if Python has to see to them. */
static Py_ssize_t measure(PyObject *headers) {
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(headers); i++) {
        PyObject *item = PyList_GET_ITEM(headers, i);
        if (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 2)
            return -1;
        PyObject *name = PyTuple_GET_ITEM(item, 0), *value = PyTuple_GET_ITEM(item, 1);
        if (!PyBytes_CheckExact(name) || !PyBytes_CheckExact(value) || !is_plain_name(name) ||
            !is_plain_value(value))
            return -1;
        size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4;
    }
    return size;
}

static inline char *put(char *to, const char *from, Py_ssize_t size) {
    memcpy(to, from, (size_t)size);
    return to + size;
}

static inline char *put_bytes(char *to, PyObject *from) {
    return put(to, PyBytes_AS_STRING(from), PyBytes_GET_SIZE(from));
}

/* Whether a request has no body, and nothing has to tell of that. */
static int is_bodiless(PyObject *const *args) {
    PyObject *method = args[0];
    return PyBytes_CheckExact(method) && args[3] == Py_True && args[4] == Py_False &&
           (is_text(method, "GET", 3) || is_text(method, "HEAD", 4) || is_text(method, "DELETE", 6));
}

static PyObject *encode_request_head(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    static const char version[] = " HTTP/1.1\r\n";
    Py_ssize_t size = -1;
    if (count == 5 && is_bodiless(args) && PyBytes_CheckExact(args[1]) && is_plain_target(args[1]) &&
        PyList_CheckExact(args[2]))
        size = measure(args[2]);
    if (size < 0)
        return PyObject_Vectorcall(head_in_python, args, (size_t)count, NULL);
    size += PyBytes_GET_SIZE(args[0]) + 1 + PyBytes_GET_SIZE(args[1]) + (Py_ssize_t)sizeof version - 1 + 2;
    PyObject *head = PyBytes_FromStringAndSize(NULL, size);
    if (head == NULL)
        return NULL;
    char *to = put(put_bytes(PyBytes_AS_STRING(head), args[0]), " ", 1);
    to = put(put_bytes(to, args[1]), version, sizeof version - 1);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[2]); i++) {
        PyObject *item = PyList_GET_ITEM(args[2], i);
        to = put(put_bytes(to, PyTuple_GET_ITEM(item, 0)), ": ", 2);
        to = put(put_bytes(to, PyTuple_GET_ITEM(item, 1)), "\r\n", 2);
    }
    put(to, "\r\n", 2);
    PyObject *made = PyTuple_Pack(4, head, no_number, no_number, Py_False); /* NO_BODY is 0 */
    Py_DECREF(head);
    return made;
}

static int encode_find(void) {
    PyObject *module = PyImport_ImportModule("anywasm.server.upstream.head");
    if (module == NULL)
        return -1;
    head_in_python = PyObject_GetAttrString(module, "encode_request_head");
    Py_DECREF(module);
    no_number = PyLong_FromLong(0);
    return head_in_python == NULL || no_number == NULL ? -1 : 0;
}

#endif
