/* Values in slots of 64 bits: the rules of anywasm.core.marshal. A type is one letter: `i` i32,
 * `l` i64, `f` f32, `d` f64, `v` v128, which takes two slots. */

#ifndef ANYWASM_FASTCALL_VALUES_H
#define ANYWASM_FASTCALL_VALUES_H

#include <Python.h>
#include <string.h>
#if PY_VERSION_HEX < 0x030B0000
#include <longintrepr.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "slots are copied as they are, which takes a little-endian machine"
#endif

static PyObject *bad_arguments, *bad_result; /* of anywasm.core.marshal */

/* Whether it is an int of one digit, as most are; those are read without a call. */
static inline int read_digit(PyObject *value, long long *number) {
    if (!PyLong_CheckExact(value))
        return 0;
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)value))
        return 0;
    *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    Py_ssize_t digits = Py_SIZE(value); /* negative for numbers that are */
    if (digits < -1 || digits > 1)
        return 0;
    *number = digits * (long long)((PyLongObject *)value)->ob_digit[0];
#endif
    return 1;
}

static inline PyObject *load_value(char type, const uint64_t *slot) {
    float single;
    double number;
    switch (type) {
    case 'i':
        return PyLong_FromUnsignedLong((uint32_t)*slot);
    case 'l':
        return PyLong_FromUnsignedLongLong(*slot);
    case 'f':
        memcpy(&single, slot, sizeof single);
        return PyFloat_FromDouble(single);
    case 'd':
        memcpy(&number, slot, sizeof number);
        return PyFloat_FromDouble(number);
    default:
        return PyBytes_FromStringAndSize((const char *)slot, 16);
    }
}

static int store_int(char type, PyObject *value, uint64_t *slot) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        if (type == 'l') {
            *slot = (uint64_t)number;
            return 0;
        }
        if (number >= INT32_MIN && number <= UINT32_MAX) {
            *slot = (uint32_t)number;
            return 0;
        }
    } else if (type == 'l' && overflow > 0) {
        *slot = PyLong_AsUnsignedLongLong(value);
        return *slot == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
    }
    PyErr_SetNone(PyExc_OverflowError);
    return -1;
}

static int store_vector(PyObject *value, uint64_t *slot) {
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_FULL_RO) < 0)
        return -1;
    int status = -1;
    if (view.ndim == 1 && view.len == 16 && view.format && !strcmp(view.format, "B"))
        status = PyBuffer_ToContiguous(slot, &view, 16, 'C');
    else
        PyErr_SetNone(PyExc_ValueError);
    PyBuffer_Release(&view);
    return status;
}

static int store_other(char type, PyObject *value, uint64_t *slot) {
    if (type == 'i' || type == 'l') {
        if (PyLong_Check(value))
            return store_int(type, value, slot);
        PyObject *index = PyNumber_Index(value);
        if (index == NULL)
            return -1;
        int status = store_int(type, index, slot);
        Py_DECREF(index);
        return status;
    }
    if (type == 'v')
        return store_vector(value, slot);
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred())
        return -1;
    if (type == 'd') {
        memcpy(slot, &number, sizeof number);
    } else {
        float single = (float)number;
        *slot = 0;
        memcpy(slot, &single, sizeof single);
    }
    return 0;
}

/* 0, or -1 with a TypeError, ValueError or OverflowError, or what the value's own code raised. */
static inline int store_value(char type, PyObject *value, uint64_t *slot) {
    long long number;
    if ((type == 'i' || type == 'l') && read_digit(value, &number)) { /* of 30 bits and a sign */
        *slot = type == 'i' ? (uint32_t)number : (uint64_t)number;
        return 0;
    }
    if (type == 'd' && PyFloat_CheckExact(value)) {
        memcpy(slot, &((PyFloatObject *)value)->ob_fval, sizeof *slot);
        return 0;
    }
    return store_other(type, value, slot);
}

/* Raises `make(name, type, values)`, in place (`from None`) of the error that is set, if there is
 * one, and it is of a value. */
static void raise_refusal(PyObject *make, PyObject *name, PyObject *type, PyObject *values) {
    int instead = PyErr_Occurred() != NULL;
    if (instead) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError) &&
            !PyErr_ExceptionMatches(PyExc_ValueError) &&
            !PyErr_ExceptionMatches(PyExc_OverflowError))
            return;
        PyErr_Clear();
    }
    PyObject *error = PyObject_CallFunctionObjArgs(make, name, type, values, NULL);
    if (error == NULL)
        return;
    if (instead)
        PyException_SetCause(error, NULL); /* and with it __suppress_context__ */
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static int values_setup(void) {
    PyObject *module = PyImport_ImportModule("anywasm.core.marshal");
    if (module == NULL)
        return -1;
    bad_arguments = PyObject_GetAttrString(module, "bad_arguments");
    bad_result = PyObject_GetAttrString(module, "bad_result");
    Py_DECREF(module);
    return bad_arguments && bad_result ? 0 : -1;
}

#endif
