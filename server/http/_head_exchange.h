/* `plain_exchange` of anywasm.server.http.plain: an exchange whose slots are filled in place. */

#ifndef ANYWASM_HEAD_EXCHANGE_H
#define ANYWASM_HEAD_EXCHANGE_H

#include "../../core/_slots.h"

/* What `HttpExchange.__init__` sets, in the order of `fill`. */
static const char *const exchange_slots[] = {
    "connection", "method",          "target",   "http_version",  "headers", "keep_alive", "content_length",
    "has_body",   "expect_continue", "received", "hold_continue", "handler", "state",
};
#define EXCHANGE_SLOTS (sizeof exchange_slots / sizeof *exchange_slots)

static Py_ssize_t exchange_at[EXCHANGE_SLOTS];
static PyTypeObject *exchange_type; /* the class that was met last; kept */
static int exchange_has_slots;      /* not if it is compiled */
static PyObject *exchange_in_python, *version, *state_new;

static int exchange_find(void) {
    version = PyUnicode_InternFromString("1.1");
    state_new = PyLong_FromLong(0);
    return version == NULL || state_new == NULL ? -1 : 0;
}

static int learn_exchange(PyObject *type) {
    Py_ssize_t found[EXCHANGE_SLOTS];
    int slots = PyType_Check(type);
    for (size_t i = 0; slots && i < EXCHANGE_SLOTS; i++) {
        found[i] = slot_offset(type, exchange_slots[i]);
        slots = found[i] >= 0;
    }
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_ImportError) &&
        !PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    if (!PyType_Check(type))
        return 0;
    if (slots)
        memcpy(exchange_at, found, sizeof found);
    exchange_has_slots = slots;
    Py_INCREF(type);
    Py_XSETREF(exchange_type, (PyTypeObject *)type);
    return 0;
}

/* plain_exchange(cls, connection, method, target, headers, body) */
static PyObject *plain_exchange(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count == 6 && args[0] != (PyObject *)exchange_type && learn_exchange(args[0]) < 0)
        return NULL;
    if (count != 6 || args[0] != (PyObject *)exchange_type || !exchange_has_slots)
        return PyObject_Vectorcall(exchange_in_python, args, (size_t)count, NULL);
    PyObject *length = Py_None;
    Py_ssize_t size = 0;
    Py_INCREF(length);
    if (args[5] != Py_None) {
        size = PyObject_Length(args[5]);
        Py_SETREF(length, size < 0 ? NULL : PyLong_FromSsize_t(size));
    }
    PyObject *made = length == NULL ? NULL : exchange_type->tp_alloc(exchange_type, 0);
    if (made == NULL) {
        Py_XDECREF(length);
        return NULL;
    }
    PyObject *has_body = size > 0 ? Py_True : Py_False;
    PyObject *const fill[EXCHANGE_SLOTS] = {
        args[1],  args[2],  args[3], version,  args[4], Py_True,   length,
        has_body, Py_False, Py_True, Py_False, Py_None, state_new,
    };
    for (size_t i = 0; i < EXCHANGE_SLOTS; i++) {
        Py_INCREF(fill[i]);
        *(PyObject **)((char *)made + exchange_at[i]) = fill[i];
    }
    Py_DECREF(length);
    return made;
}

#endif
