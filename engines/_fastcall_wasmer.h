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
    if ((type == 'i' || type == 'l') && !read_digit(value, &number))
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

/* The items of a tuple converted, in the same tuple where none needs it; or NULL with an exception. */
static PyObject *convert_all(PyObject *(*convert)(char, PyObject *), PyObject *types, PyObject *items) {
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    PyObject *all = items;
    Py_INCREF(all);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = convert(PyBytes_AS_STRING(types)[i], PyTuple_GET_ITEM(items, i));
        if (item != PyTuple_GET_ITEM(items, i) && item != NULL && all == items) {
            Py_DECREF(all);
            all = PyTuple_New(count);
            for (Py_ssize_t j = 0; all != NULL && j < count; j++) {
                Py_INCREF(PyTuple_GET_ITEM(items, j));
                PyTuple_SET_ITEM(all, j, PyTuple_GET_ITEM(items, j));
            }
        }
        if (item == NULL || all == NULL) {
            Py_XDECREF(item);
            Py_XDECREF(all);
            return NULL;
        }
        if (all == items) {
            Py_DECREF(item);
        } else {
            PyObject *before = PyTuple_GET_ITEM(all, i);
            PyTuple_SET_ITEM(all, i, item);
            Py_DECREF(before);
        }
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
        all = convert_all(convert, types, items);
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

static PyObject *wasmer_run(Export *self, PyObject *args) {
    PyObject *all = NULL;
    if (PyTuple_GET_SIZE(args) != PyBytes_GET_SIZE(self->sig.params))
        PyErr_SetNone(PyExc_ValueError);
    else
        all = convert_all(to_signed, self->sig.params, args);
    if (all == NULL) {
        raise_refusal(bad_arguments, self->sig.name, self->sig.type, args);
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

static PyObject *wasmer_call(PyObject *callable, PyObject *args, PyObject *names) {
    Export *self = (Export *)callable;
    if (export_enter(&self->sig, names != NULL && PyDict_GET_SIZE(names), &this_thread) < 0)
        return NULL;
    Py_INCREF(self);
    PyObject *answer = wasmer_run(self, args);
    gate_leave(self->sig.gate);
    Py_DECREF(self);
    return answer;
}

/* --- host functions ---------------------------------------------------------------------------- */

static PyObject *wasmer_host_answer(Signature *of, PyObject *args) {
    PyObject *all = convert_all(to_unsigned, of->params, args), *returned, *answer = NULL;
    if (all == NULL)
        return NULL;
    returned = PyObject_Call(of->target, all, NULL);
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

static PyObject *wasmer_host_call(PyObject *callable, PyObject *args, PyObject *names) {
    Signature *of = &((Export *)callable)->sig;
    PyObject *answer = NULL;
    if (names != NULL || PyTuple_GET_SIZE(args) != PyBytes_GET_SIZE(of->params)) {
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

static PyObject *Wasmer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Signature read;
    if (!PyArg_ParseTuple(args, SIGNATURE_FORMAT, SIGNATURE_ITEMS(read)))
        return NULL;
    Export *self = (Export *)type->tp_alloc(type, 0);
    if (self != NULL && signature_set(&self->sig, &read) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

/* Lets go of the binding's function; nobody gets past a shut gate to call it. */
static PyObject *wasmer_forget(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    Py_INCREF(Py_None);
    Py_XSETREF(((Export *)self)->sig.engine, Py_None);
    Py_RETURN_NONE;
}

static PyMethodDef wasmer_methods[] = {
    {"forget", wasmer_forget, METH_NOARGS, "Let go of the binding's function, at the end."},
    {NULL, NULL, 0, NULL},
};

/* Called with a tuple, as the binding calls and is called: mostly the same one is handed on. */
#define WASMER_TYPE(NAME, CALL)                                                                     \
    static PyTypeObject NAME##_type = {                                                             \
        PyVarObject_HEAD_INIT(NULL, 0)                                                              \
        .tp_name = "anywasm.engines._fastcall." #NAME,                                              \
        .tp_base = &Export_type,                                                                    \
        .tp_basicsize = sizeof(Export),                                                             \
        .tp_flags = Py_TPFLAGS_DEFAULT,                                                             \
        .tp_call = CALL,                                                                            \
        .tp_methods = wasmer_methods,                                                               \
        .tp_new = Wasmer_new,                                                                       \
    }

WASMER_TYPE(WasmerExport, wasmer_call);
WASMER_TYPE(WasmerHost, wasmer_host_call);

#endif
