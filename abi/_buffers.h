/* Reading buffers, as anywasm.abi.hostcalls.buffers has it, where there is one, and it is the
 * context's. All else is left to the functions in Python. */

#ifndef ANYWASM_BUFFERS_H
#define ANYWASM_BUFFERS_H

#include "_maps.h"

static PyTypeObject *buffer_type;
static Attribute buffer_data_of;
static Py_ssize_t context_buffers_at;
static PyObject *buffers_of_root; /* the numbers of those that belong to the plugin */

/* What a buffer holds, bytes; NULL where the Python function has to look. A new reference. */
static PyObject *buffer_data(PyObject *context, PyObject *kind) {
    if (!PyObject_TypeCheck(context, context_type) || !PyLong_CheckExact(kind))
        return NULL;
    int overflow, of_root = PySet_Contains(buffers_of_root, kind);
    long number = PyLong_AsLongAndOverflow(kind, &overflow);
    PyObject *buffers = slot_at(context, context_buffers_at);
    if (of_root != 0 || overflow || buffers == NULL || !PyList_CheckExact(buffers) || number < 0 ||
        number >= PyList_GET_SIZE(buffers)) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *buffer = PyList_GET_ITEM(buffers, number);
    PyObject *data =
        Py_IS_TYPE(buffer, buffer_type) ? attribute_of(&buffer_data_of, buffer) : NULL;
    if (data == NULL)
        PyErr_Clear();
    else if (!PyBytes_CheckExact(data))
        Py_CLEAR(data);
    return data;
}

/* Part of it; takes the reference. */
static PyObject *cut(PyObject *data, long long start, long long size) {
    Py_ssize_t held = PyBytes_GET_SIZE(data);
    if (start > held)
        start = held;
    if (size > held - start)
        size = held - start;
    if (size == held)
        return data;
    PyObject *part = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, (Py_ssize_t)size);
    Py_DECREF(data);
    return part;
}

static PyObject *get_buffer_bytes(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *data = count == 4 ? buffer_data(args[0], args[1]) : NULL;
    if (data != NULL && PyLong_CheckExact(args[2]) && PyLong_CheckExact(args[3])) {
        int strange, too_large;
        long long start = PyLong_AsLongLongAndOverflow(args[2], &strange);
        long long size = PyLong_AsLongLongAndOverflow(args[3], &too_large);
        if (!strange && !too_large && start >= 0 && size >= 0)
            return cut(data, start, size);
    }
    Py_XDECREF(data);
    return PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

static PyObject *get_buffer_status(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *data = count == 2 ? buffer_data(args[0], args[1]) : NULL;
    if (data == NULL)
        return PyObject_Vectorcall(python, args, (size_t)count, NULL);
    PyObject *answer = Py_BuildValue("(ni)", PyBytes_GET_SIZE(data), 0);
    Py_DECREF(data);
    return answer;
}

static PyMethodDef buffer_functions[] = {
    FUNCTION("proxy_get_buffer_bytes", get_buffer_bytes),
    FUNCTION("proxy_get_buffer_status", get_buffer_status),
    {NULL, NULL, 0, NULL},
};

static int find_buffers(void) {
    buffer_type = (PyTypeObject *)import_from("anywasm.abi.buffer", "Buffer");
    buffers_of_root = import_from("anywasm.abi.hostcalls.buffers", "OF_ROOT");
    if (buffer_type == NULL || buffers_of_root == NULL || !PyFrozenSet_CheckExact(buffers_of_root))
        return -1;
    context_buffers_at = slot_offset((PyObject *)context_type, "buffers");
    return context_buffers_at < 0 ? -1 : attribute_find(&buffer_data_of, buffer_type, "data");
}

#endif
