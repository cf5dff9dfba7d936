/* The checks around wasmer's binding, which takes and gives Python numbers itself: signed ints where
 * callers have unsigned ones. */

#ifndef ANYWASM_FASTCALL_WASMER_H
#define ANYWASM_FASTCALL_WASMER_H

#include "_fastcall_export.h"

/* A number as the binding takes it, or NULL with a TypeError, ValueError or OverflowError, or what
 * the value's own code raised. */
static PyObject *to_signed(char type, PyObject *value) {
    uint64_t bits;
    if (PyFloat_CheckExact(value) ? type != 'i' && type != 'l' : 0) {
        Py_INCREF(value);
        return value;
    }
    if (type == 'd' || type == 'f') {
        double number = PyFloat_AsDouble(value);
        return number == -1.0 && PyErr_Occurred() ? NULL : PyFloat_FromDouble(number);
    }
    if (store_value(type, value, &bits) < 0)
        return NULL;
    int64_t number = type == 'i' ? (int32_t)(uint32_t)bits : (int64_t)bits;
    if (number >= 0 && PyLong_CheckExact(value)) {
        Py_INCREF(value);
        return value;
    }
    return PyLong_FromLongLong(number);
}

/* A number of the binding's as callers get it. */
static PyObject *to_unsigned(char type, PyObject *value) {
    long long number = 0;
    if (type == 'i' || type == 'l')
        number = PyLong_AsLongLong(value);
    if (number >= 0) {
        Py_INCREF(value);
        return value;
    }
    if (number == -1 && PyErr_Occurred())
        return NULL;
    return type == 'i' ? PyLong_FromUnsignedLong((uint32_t)number)
                       : PyLong_FromUnsignedLongLong((uint64_t)number);
}

/* Converted items in a new tuple, or NULL with an exception. */
static PyObject *convert_all(PyObject *(*convert)(char, PyObject *), PyObject *types,
                             PyObject *const *items) {
    Py_ssize_t count = PyBytes_GET_SIZE(types);
    PyObject *all = PyTuple_New(count);
    for (Py_ssize_t i = 0; all != NULL && i < count; i++) {
        PyObject *item = convert(PyBytes_AS_STRING(types)[i], items[i]);
        if (item == NULL)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, i, item);
    }
    return all;
}

/* What a function returned, converted: None, one number, or a tuple. */
static PyObject *convert_results(PyObject *(*convert)(char, PyObject *), PyObject *types,
                                 PyObject *returned) {
    Py_ssize_t count = PyBytes_GET_SIZE(types);
    if (count == 1)
        return convert(PyBytes_AS_STRING(types)[0], returned);
    if (count == 0) {
        if (returned != Py_None)
            return NULL;
        Py_RETURN_NONE;
    }
    PyObject *items = unpack(returned, count), *all = NULL;
    if (items != NULL)
        all = convert_all(convert, types, ((PyTupleObject *)items)->ob_item);
    Py_XDECREF(items);
    return all;
}

/* --- exports ----------------------------------------------------------------------------------- */

/* Raises what ended a call: a host function's exception as itself, else what `fail` makes of the
 * binding's. */
static void wasmer_failed(Export *self) {
    PyObject *error = take_exception();
    if (slot_at(self->sig.gate, gate_at.pending) == error)
        export_raise_pending(self);
    else
        export_failed(PyObject_CallOneArg(self->sig.target, error));
    Py_DECREF(error);
}

static PyObject *wasmer_run(Export *self, PyObject *const *args, Py_ssize_t given) {
    PyObject *all = NULL;
    if (given != PyBytes_GET_SIZE(self->sig.params))
        PyErr_SetNone(PyExc_ValueError);
    else
        all = convert_all(to_signed, self->sig.params, args);
    if (all == NULL) {
        refuse_arguments(&self->sig, args, given);
        return NULL;
    }
    PyObject *returned = PyObject_Call(self->sig.engine, all, NULL), *answer = NULL;
    Py_DECREF(all);
    if (returned == NULL)
        wasmer_failed(self);
    else
        answer = convert_results(to_unsigned, self->sig.results, returned);
    Py_XDECREF(returned);
    return answer;
}

static PyObject *wasmer_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    Export *self = (Export *)callable;
    if (export_enter(&self->sig, names) < 0)
        return NULL;
    Py_INCREF(self);
    PyObject *answer = wasmer_run(self, args, PyVectorcall_NARGS(flags));
    gate_leave(self->sig.gate);
    Py_DECREF(self);
    return answer;
}

/* --- host functions ---------------------------------------------------------------------------- */

static PyObject *wasmer_host_answer(Signature *of, PyObject *const *args) {
    PyObject *all = convert_all(to_unsigned, of->params, args), *returned, *answer = NULL;
    if (all == NULL)
        return NULL;
    returned = PyObject_Vectorcall(of->target, ((PyTupleObject *)all)->ob_item,
                                   (size_t)PyTuple_GET_SIZE(all), NULL);
    Py_DECREF(all);
    if (returned == NULL)
        return NULL;
    if (check_overdue(of) == 0) {
        answer = convert_results(to_signed, of->results, returned);
        if (answer == NULL)
            refuse_result(of, returned);
    }
    Py_DECREF(returned);
    return answer;
}

static PyObject *wasmer_host_call(PyObject *callable, PyObject *const *args, size_t flags,
                                  PyObject *names) {
    Signature *of = &((Export *)callable)->sig;
    PyObject *answer = NULL;
    if (names != NULL || PyVectorcall_NARGS(flags) != PyBytes_GET_SIZE(of->params)) {
        PyErr_SetString(PyExc_TypeError, "only wasmer calls host functions");
        return NULL;
    }
    Py_INCREF(callable);
    answer = wasmer_host_answer(of, args);
    if (answer == NULL) { /* it passes through the binding, and is known by being the same */
        PyObject *error = take_exception();
        Py_INCREF(error);
        gate_set_pending(of->gate, error);
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    Py_DECREF(callable);
    return answer;
}

/* --- both -------------------------------------------------------------------------------------- */

static PyObject *wasmer_new(PyTypeObject *type, PyObject *args, vectorcallfunc call) {
    Signature read;
    if (!PyArg_ParseTuple(args, SIGNATURE_FORMAT, SIGNATURE_ITEMS(read)))
        return NULL;
    Export *self = (Export *)type->tp_alloc(type, 0);
    if (self != NULL && export_set(self, &read, 0, NULL) < 0)
        Py_CLEAR(self);
    if (self != NULL)
        self->vectorcall = call;
    return (PyObject *)self;
}

static PyObject *WasmerExport_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    return wasmer_new(type, args, wasmer_call);
}

static PyObject *WasmerHost_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    return wasmer_new(type, args, wasmer_host_call);
}

#define WASMER_TYPE(NAME)                                                                           \
    static PyTypeObject NAME##_type = {                                                             \
        PyVarObject_HEAD_INIT(NULL, 0)                                                              \
        .tp_name = "anywasm.engines._fastcall." #NAME,                                              \
        .tp_base = &Export_type,                                                                    \
        .tp_basicsize = sizeof(Export),                                                             \
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,                                \
        .tp_vectorcall_offset = offsetof(Export, vectorcall),                                       \
        .tp_new = NAME##_new,                                                                       \
    }

WASMER_TYPE(WasmerExport);
WASMER_TYPE(WasmerHost);

#endif
