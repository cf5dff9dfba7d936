/* What exports and host functions of all engines share: names, types, and how their values cross. */

#ifndef ANYWASM_FASTCALL_SIGNATURE_H
#define ANYWASM_FASTCALL_SIGNATURE_H

#include "_fastcall_gate.h"
#include "_fastcall_values.h"

/* Values that are kept on the stack; more are allocated. */
#define FEW 8

typedef struct {
    PyObject *engine;  /* its own: a Wasm3Machine, a function of wasmer's binding; else None */
    PyObject *gate;    /* of the instance */
    PyObject *name;
    PyObject *type;    /* the FuncType, for messages */
    PyObject *params;  /* bytes: a letter for each value */
    PyObject *results;
    PyObject *target;  /* an export's `fail`, a host function's callable */
} Signature;

/* How PyArg_ParseTuple reads a Signature, all of it borrowed. */
#define SIGNATURE_FORMAT "OOUOSSO"
#define SIGNATURE_ITEMS(S)                                                                          \
    &(S).engine, &(S).gate, &(S).name, &(S).type, &(S).params, &(S).results, &(S).target

static int signature_set(Signature *to, const Signature *read) {
    if (!gate_fits(read->gate))
        return -1;
    *to = *read;
    Py_INCREF(to->engine), Py_INCREF(to->gate), Py_INCREF(to->name), Py_INCREF(to->type);
    Py_INCREF(to->params), Py_INCREF(to->results), Py_INCREF(to->target);
    return 0;
}

static int signature_traverse(Signature *of, visitproc visit, void *arg) {
    Py_VISIT(of->engine);
    Py_VISIT(of->gate);
    Py_VISIT(of->type);
    Py_VISIT(of->target);
    return 0;
}

static void signature_clear(Signature *of) {
    Py_CLEAR(of->engine);
    Py_CLEAR(of->gate);
    Py_CLEAR(of->name);
    Py_CLEAR(of->type);
    Py_CLEAR(of->params);
    Py_CLEAR(of->results);
    Py_CLEAR(of->target);
}

/* Raises what is wrong with an export's arguments, in place of what is set. */
static void refuse_arguments(Signature *of, PyObject *const *args, Py_ssize_t given) {
    PyObject *kind, *value, *traceback; /* the tuple is made with no exception set */
    PyErr_Fetch(&kind, &value, &traceback);
    PyObject *all = PyTuple_New(given);
    if (all == NULL) {
        Py_XDECREF(kind), Py_XDECREF(value), Py_XDECREF(traceback);
        return;
    }
    for (Py_ssize_t i = 0; i < given; i++) {
        Py_INCREF(args[i]);
        PyTuple_SET_ITEM(all, i, args[i]);
    }
    PyErr_Restore(kind, value, traceback);
    raise_refusal(bad_arguments, of->name, of->type, all);
    Py_DECREF(all);
}

/* Raises what is wrong with what a host function returned, in place of what is set. */
static void refuse_result(Signature *of, PyObject *returned) {
    raise_refusal(bad_result, of->name, of->type, returned);
}

/* The items of what a host function with several results returned, or NULL with an exception. */
static PyObject *unpack(PyObject *returned, Py_ssize_t count) {
    PyObject *items = returned;
    if (PyTuple_CheckExact(returned)) {
        Py_INCREF(items);
    } else {
        PyObject *iterator = PyObject_GetIter(returned), *item;
        if (iterator == NULL)
            return NULL;
        items = PyList_New(0);
        /* One more is enough to know that there are too many; there may be no end. */
        while (items != NULL && PyList_GET_SIZE(items) <= count &&
               (item = PyIter_Next(iterator)) != NULL) {
            if (PyList_Append(items, item) < 0)
                Py_CLEAR(items);
            Py_DECREF(item);
        }
        Py_DECREF(iterator);
        if (items != NULL && PyErr_Occurred())
            Py_CLEAR(items);
        if (items != NULL)
            Py_SETREF(items, PyList_AsTuple(items));
        if (items == NULL)
            return NULL;
    }
    if (PyTuple_GET_SIZE(items) != count) {
        PyErr_SetNone(PyExc_ValueError);
        Py_CLEAR(items);
    }
    return items;
}

/* Raises the deadline that has passed while a host function ran: 0 when there is none. */
static int check_overdue(Signature *of) {
    int overdue = gate_is_overdue(of->gate);
    if (overdue > 0) {
        PyObject *error = PyObject_CallMethod(of->gate, "overdue", NULL);
        if (error != NULL) {
            PyErr_SetObject((PyObject *)Py_TYPE(error), error);
            Py_DECREF(error);
        }
    }
    return overdue ? -1 : 0;
}

#endif
