/* What `Instance.promising` gives for wasmtime: an export that, called, gives a generator. */

#ifndef ANYWASM_FASTCALL_CALL_H
#define ANYWASM_FASTCALL_CALL_H

#include "_fastcall_promise.h"

/* The export; its engine is the Promises. */
typedef struct {
    Export export;
    uint64_t func[4]; /* a copy of the wasmtime_func_t */
} Promising;

enum { CALL_NEW, CALL_RUNS, CALL_SUSPENDED, CALL_ENDED };

typedef struct {
    PyObject_HEAD
    Promising *of;
    PyObject *args;
    uint64_t *values; /* its arguments, then its results, as wasmtime_val_t */
    int state;
} Call;

static Promises *call_promises(Call *self) {
    return (Promises *)self->of->export.sig.engine;
}

/* Begins the call; the gate is passed. 0, or -1 with an exception. */
static int call_begin(Call *self) {
    Export *export = &self->of->export;
    Promises *promises = call_promises(self);
    const char *params = PyBytes_AS_STRING(export->sig.params);
    Py_ssize_t in = PyBytes_GET_SIZE(export->sig.params), out = PyBytes_GET_SIZE(export->sig.results);
    /* Beneath a call on the thread's own stack it could not be left without leaving that, too. */
    if (promises->future != NULL || promises_held(promises) > 1) {
        raise_core("ConcurrencyError", "%U may not be suspended beneath another call",
                   export->sig.name);
        return -1;
    }
    self->values = PyMem_Calloc(in + out + 1, 8 * VAL_STRIDE);
    if (self->values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *const *args = &PyTuple_GET_ITEM(self->args, 0);
    if (export_take(export, args, PyTuple_GET_SIZE(self->args), self->values + 1, VAL_STRIDE) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < in; i++)
        self->values[VAL_STRIDE * i] = (uint64_t)(strchr("ilfdv", params[i]) - "ilfdv");
    promises->floor = 0;
    promises->future = wasmtime.call_async(promises->context, self->of->func, self->values, in,
                                           self->values + VAL_STRIDE * in, out, &promises->trap,
                                           &promises->error);
    promises->owner = (PyObject *)self;
    return 0;
}

/* Runs the guest until it ends or is suspended; the gate is passed. */
static PySendResult call_run(Call *self, PyObject **result) {
    Export *export = &self->of->export;
    Promises *promises = call_promises(self);
    self->state = CALL_RUNS;
    promises->depth = promises_held(promises);
    promises->running = 1;
    int done = wasmtime_poll(promises->future, &promises->floor);
    promises->running = 0;
    if (!done) {
        self->state = CALL_SUSPENDED;
        gate_suspend(promises->gate, 1);
        promises_hold(promises);
        *result = promises->yielded;
        promises->yielded = NULL;
        return PYGEN_NEXT;
    }
    self->state = CALL_ENDED;
    wasmtime.future_delete(promises->future);
    void *error = promises->error, *trap = promises->trap;
    promises->future = promises->error = promises->trap = NULL;
    promises->owner = NULL;
    promises_unwait(promises);
    promises_release(promises);
    if (error != NULL || trap != NULL) {
        wasmtime_failed(export, error, trap);
        return PYGEN_ERROR;
    }
    *result = export_give(export, self->values + 1 + VAL_STRIDE * PyBytes_GET_SIZE(export->sig.params),
                          VAL_STRIDE);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* Takes the exception that is set, if there is one, else `sent`, to the guest's host function. */
static PySendResult call_advance(Call *self, PyObject *sent, PyObject **result) {
    Export *export = &self->of->export;
    Promises *promises = call_promises(self);
    PyObject *thrown = PyErr_Occurred() ? take_exception() : NULL;
    int known = self->state == CALL_SUSPENDED && promises->owner == (PyObject *)self;
    *result = NULL;
    if (self->state == CALL_RUNS) {
        Py_XDECREF(thrown);
        PyErr_SetString(PyExc_ValueError, "the call is running already");
        return PYGEN_ERROR;
    }
    if (self->state == CALL_SUSPENDED && !known) {
        self->state = CALL_ENDED;
        if (thrown == NULL) {
            raise_core("ClosedError", "%U was suspended when its instance was closed", export->sig.name);
            return PYGEN_ERROR;
        }
    }
    if (self->state == CALL_ENDED || (self->state == CALL_NEW && thrown != NULL)) {
        int ended = self->state == CALL_ENDED;
        self->state = CALL_ENDED;
        if (thrown != NULL) {
            PyErr_SetObject((PyObject *)Py_TYPE(thrown), thrown);
            Py_DECREF(thrown);
            return PYGEN_ERROR;
        }
        (void)ended;
        Py_INCREF(Py_None);
        *result = Py_None;
        return PYGEN_RETURN;
    }
    if (known) {
        gate_suspend(promises->gate, 0);
        Py_INCREF(sent);
        Py_XSETREF(promises->sent, sent);
        Py_XSETREF(promises->thrown, thrown);
    }
    PySendResult got = PYGEN_ERROR;
    Py_INCREF(self);
    if (gate_enter(promises->gate, &this_thread) == 0) {
        if (known || call_begin(self) == 0)
            got = call_run(self, result);
        else
            self->state = CALL_ENDED;
        gate_leave(promises->gate);
    } else {
        self->state = CALL_ENDED;
        if (known)
            promises_drop(promises); /* what stands against entering left the guest where it was */
    }
    Py_DECREF(self);
    return got;
}

static PySendResult Call_am_send(PyObject *self, PyObject *sent, PyObject **result) {
    return call_advance((Call *)self, sent, result);
}

static PyObject *call_answer(PySendResult got, PyObject *result) {
    if (got != PYGEN_RETURN)
        return result;
    /* As a generator: the value in a tuple is not taken for the exception's arguments. */
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *Call_send(PyObject *self, PyObject *sent) {
    PyObject *result;
    PySendResult got = call_advance((Call *)self, sent, &result);
    return call_answer(got, result);
}

static PyObject *Call_next(PyObject *self) {
    return Call_send(self, Py_None);
}

static PyObject *Call_throw(PyObject *self, PyObject *args) {
    PyObject *kind, *value = NULL, *traceback = NULL, *result;
    if (!PyArg_ParseTuple(args, "O|OO", &kind, &value, &traceback))
        return NULL;
    if (PyExceptionInstance_Check(kind))
        PyErr_SetObject((PyObject *)Py_TYPE(kind), kind);
    else
        PyErr_SetObject(kind, value);
    PySendResult got = call_advance((Call *)self, Py_None, &result);
    return call_answer(got, result);
}

static PyObject *Call_close(PyObject *object, PyObject *Py_UNUSED(ignored)) {
    Call *self = (Call *)object;
    if (self->state == CALL_RUNS) {
        PyErr_SetString(PyExc_ValueError, "the call is running already");
        return NULL;
    }
    if (self->state == CALL_SUSPENDED && call_promises(self)->owner == object)
        promises_drop(call_promises(self));
    self->state = CALL_ENDED;
    Py_RETURN_NONE;
}

static int Call_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(((Call *)object)->of);
    Py_VISIT(((Call *)object)->args);
    return 0;
}

static void Call_dealloc(PyObject *object) {
    Call *self = (Call *)object;
    PyObject_GC_UnTrack(object);
    if (self->state == CALL_SUSPENDED && call_promises(self)->owner == object)
        promises_drop(call_promises(self));
    PyMem_Free(self->values);
    Py_XDECREF(self->args);
    Py_XDECREF(self->of);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef Call_methods[] = {
    {"send", Call_send, METH_O, "Go on with what the host function is to be sent."},
    {"throw", Call_throw, METH_VARARGS, "Go on with an exception in the host function."},
    {"close", Call_close, METH_NOARGS, "Give the call up."},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods Call_async = {.am_send = Call_am_send};

static PyTypeObject Call_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.WasmtimeCall",
    .tp_doc = "A call that may be suspended, used as a generator.",
    .tp_basicsize = sizeof(Call),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_as_async = &Call_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = Call_next,
    .tp_methods = Call_methods,
    .tp_traverse = Call_traverse,
    .tp_dealloc = Call_dealloc,
};

static PyObject *promising_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    Promising *of = (Promising *)callable;
    if (names != NULL && PyTuple_GET_SIZE(names))
        return PyErr_Format(PyExc_TypeError, "%U takes no keyword arguments", of->export.sig.name);
    Py_ssize_t given = PyVectorcall_NARGS(flags);
    PyObject *all = PyTuple_New(given);
    Call *self = all == NULL ? NULL : (Call *)Call_type.tp_alloc(&Call_type, 0);
    if (self == NULL) {
        Py_XDECREF(all);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < given; i++) {
        Py_INCREF(args[i]);
        PyTuple_SET_ITEM(all, i, args[i]);
    }
    Py_INCREF(of);
    self->of = of;
    self->args = all;
    return (PyObject *)self;
}

static PyObject *Promising_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    const char *func;
    Py_ssize_t size;
    Signature read;
    if (!PyArg_ParseTuple(args, "y#" SIGNATURE_FORMAT, &func, &size, SIGNATURE_ITEMS(read)))
        return NULL;
    Promising *self = (Promising *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (size > (Py_ssize_t)sizeof self->func || !Py_IS_TYPE(read.engine, &Promises_type)) {
        PyErr_SetString(PyExc_ValueError, "not a wasmtime_func_t, or no WasmtimePromises");
        Py_CLEAR(self);
    } else if (export_set(&self->export, &read, promising_call) < 0) {
        Py_CLEAR(self);
    } else {
        memcpy(self->func, func, size);
    }
    return (PyObject *)self;
}

static PyTypeObject Promising_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.WasmtimePromising",
    .tp_base = &Export_type,
    .tp_basicsize = sizeof(Promising),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Export, vectorcall),
    .tp_new = Promising_new,
};

#endif
