/* Calls into wasmtime that may be suspended: see anywasm.engines.wasmtime.promises, which this
 * stands in for. Python generators on one side, the host function's, and what looks like one on the
 * other; the guest in between is on a stack of its own. */

#ifndef ANYWASM_FASTCALL_PROMISE_H
#define ANYWASM_FASTCALL_PROMISE_H

#include "_fastcall_wasmtime.h"

/* 64-bit slots of a wasmtime_val_t: its kind, then the value. */
#define VAL_STRIDE 4
/* What an epoch's update says to suspend the guest. */
#define UPDATE_YIELD 1

typedef void *(*EpochCallback)(void *context, void *data, uint64_t *delta, uint8_t *kind);

/* What the calls into one store share. At most one of them runs or is suspended. */
typedef struct {
    PyObject_HEAD
    void *context;
    PyObject *gate;
    PyObject *store; /* the binding's; see promises_hold */
    EpochCallback on_epoch; /* for ticks that suspend nothing, with its token */
    void *token;
    void *future;
    PyObject *owner; /* the call, borrowed */
    int running, yields, holds;
    size_t depth; /* how often the gate is held while no host function has called the guest */
    uintptr_t floor;
    void *trap, *error;
    /* Of the host function that waits: itself, what it yielded, and what it is given. */
    PyObject *host, *yielded, *sent, *thrown;
} Promises;

static size_t promises_held(Promises *self) {
    return ((LockObject *)slot_at(self->gate, gate_at.lock))->depth;
}

static int promises_can_suspend(Promises *self) {
    return self->running && promises_held(self) == self->depth;
}

static void gate_put(PyObject *gate, Py_ssize_t at, PyObject *value) {
    PyObject **place = (PyObject **)((char *)gate + at);
    Py_INCREF(value);
    Py_XSETREF(*place, value);
}

/* As CallGate.suspend and resume. */
static void gate_suspend(PyObject *gate, int suspended) {
    int alert = suspended || slot_at(gate, gate_at.closed) != Py_False ||
                slot_at(gate, gate_at.home) != Py_None || slot_at(gate, gate_at.expires) != Py_None;
    gate_put(gate, gate_at.suspended, suspended ? Py_True : Py_False);
    gate_put(gate, gate_at.alert, alert ? Py_True : Py_False);
}

/* While a call is suspended, a reference of which the garbage collector does not know keeps the
 * store: it finalizes what it finds in any order, and the call must go before the store does. */
static void promises_hold(Promises *self) {
    if (!self->holds)
        Py_INCREF(self->store);
    self->holds = 1;
}

static void promises_release(Promises *self) {
    int holds = self->holds;
    self->holds = 0;
    if (holds)
        Py_DECREF(self->store);
}

static void promises_forget(Promises *self) {
    Py_CLEAR(self->yielded);
    Py_CLEAR(self->sent);
    Py_CLEAR(self->thrown);
}

/* Nobody waits any more, where the guest ended before it could be suspended. */
static void promises_unwait(Promises *self) {
    PyObject *host = self->host;
    self->host = NULL;
    self->yields = 0;
    promises_forget(self);
    if (host != NULL) {
        PyObject *closed = PyObject_CallMethod(host, "close", NULL);
        if (closed == NULL)
            PyErr_WriteUnraisable(host);
        Py_XDECREF(closed);
        Py_DECREF(host);
    }
}

/* Gives up the call that is suspended. An exception that is set stays. */
static void promises_drop(Promises *self) {
    if (self->future == NULL || self->running)
        return;
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    void *future = self->future;
    self->owner = NULL;
    self->future = NULL;
    PyThreadState *outer = guest_entered(&this_thread);
    wasmtime.future_delete(future);
    guest_left(&this_thread, outer);
    if (self->error != NULL)
        wasmtime.error_delete(self->error);
    if (self->trap != NULL)
        wasmtime.trap_delete(self->trap);
    self->error = self->trap = NULL;
    gate_suspend(self->gate, 0);
    promises_unwait(self);
    promises_release(self);
    PyErr_Restore(kind, value, traceback);
}

static PyObject *Promises_close(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    promises_drop((Promises *)self);
    Py_RETURN_NONE;
}

static PyObject *Promises_can(PyObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(promises_can_suspend((Promises *)self));
}

static PyObject *Promises_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long context, on_epoch, token;
    PyObject *gate, *store;
    if (!PyArg_ParseTuple(args, "KOOKK", &context, &gate, &store, &on_epoch, &token) ||
        !gate_fits(gate))
        return NULL;
    Promises *self = (Promises *)type->tp_alloc(type, 0);
    if (self != NULL) {
        Py_INCREF(gate);
        Py_INCREF(store);
        self->gate = gate;
        self->store = store;
        self->context = (void *)(uintptr_t)context;
        self->on_epoch = (EpochCallback)(uintptr_t)on_epoch;
        self->token = (void *)(uintptr_t)token;
    }
    return (PyObject *)self;
}

static int Promises_traverse(PyObject *object, visitproc visit, void *arg) {
    Promises *self = (Promises *)object;
    Py_VISIT(self->gate);
    Py_VISIT(self->store);
    Py_VISIT(self->host);
    Py_VISIT(self->yielded);
    Py_VISIT(self->sent);
    Py_VISIT(self->thrown);
    return 0;
}

static void Promises_dealloc(PyObject *object) {
    Promises *self = (Promises *)object;
    PyObject_GC_UnTrack(object);
    promises_forget(self); /* its store is closed, and with it every call */
    Py_CLEAR(self->host);
    Py_CLEAR(self->gate);
    Py_CLEAR(self->store);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef Promises_methods[] = {
    {"close", Promises_close, METH_NOARGS, "Give up the call that is suspended, if there is one."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Promises_getset[] = {
    {"can_suspend", Promises_can, NULL, "Whether the running host function may suspend.", NULL},
    {"address", Host_address, NULL, "The data of `wasmtime_epoch`.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Promises_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.WasmtimePromises",
    .tp_doc = "The calls into one store that may be suspended.",
    .tp_basicsize = sizeof(Promises),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_methods = Promises_methods,
    .tp_getset = Promises_getset,
    .tp_new = Promises_new,
    .tp_traverse = Promises_traverse,
    .tp_dealloc = Promises_dealloc,
};

/* A wasmtime_store_epoch_deadline_callback's, whose data is a Promises; without the GIL. */
static void *wasmtime_epoch(void *context, void *data, uint64_t *delta, uint8_t *kind) {
    Promises *self = data;
    if (!self->yields)
        return self->on_epoch(context, self->token, delta, kind);
    self->yields = 0;
    *delta = 1;
    *kind = UPDATE_YIELD;
    return NULL;
}

/* Raises an error of anywasm.core.errors. */
static void raise_core(const char *name, const char *format, PyObject *what) {
    PyObject *module = PyImport_ImportModule("anywasm.core.errors");
    PyObject *kind = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    if (kind != NULL)
        PyErr_Format(kind, format, what);
    Py_XDECREF(kind);
    Py_XDECREF(module);
}

/* --- host functions ------------------------------------------------------------------------------ */

/* One of the two ways to call a host function that may suspend; its engine is the Promises. */
typedef struct {
    Host host;
    int goes_on;
} Suspending;

static int suspending_finish(Suspending *self, PyObject *answer, uint64_t *slots) {
    Signature *of = &self->host.sig;
    int status = host_store(of, answer, slots, WASMTIME_STRIDE);
    Py_DECREF(answer);
    slots[WASMTIME_STRIDE * PyBytes_GET_SIZE(of->results)] = 0;
    return status < 0 ? -1 : check_overdue(of);
}

/* What a generator does with what it is given; `thrown` is raised in it. */
static PySendResult generator_step(PyObject *host, PyObject *sent, PyObject *thrown, PyObject **out) {
    if (thrown == NULL)
        return PyIter_Send(host, sent, out);
    *out = PyObject_CallMethod(host, "throw", "O", thrown);
    if (*out != NULL)
        return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return PYGEN_ERROR;
    PyObject *stop = take_exception();
    *out = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *out == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

static int suspending_advance(Suspending *self, PyObject *host, uint64_t *slots) {
    Signature *of = &self->host.sig;
    Promises *promises = (Promises *)of->engine;
    PyObject *sent = promises->sent, *thrown = promises->thrown, *out = NULL;
    promises->sent = promises->thrown = NULL;
    PySendResult result = generator_step(host, sent == NULL ? Py_None : sent, thrown, &out);
    Py_XDECREF(sent);
    Py_XDECREF(thrown);
    if (result != PYGEN_NEXT) {
        Py_DECREF(host);
        return result == PYGEN_ERROR ? -1 : suspending_finish(self, out, slots);
    }
    if (!promises_can_suspend(promises)) {
        Py_DECREF(out);
        Py_XDECREF(PyObject_CallMethod(host, "close", NULL));
        if (!PyErr_Occurred())
            raise_core("ConcurrencyError",
                       "%U cannot suspend a guest that was not called through Instance.promising, "
                       "with no other host function in between",
                       of->name);
        Py_DECREF(host);
        return -1;
    }
    Py_XSETREF(promises->host, host);
    Py_XSETREF(promises->yielded, out);
    promises->yields = 1;
    wasmtime.set_epoch_deadline(promises->context, 0);
    Py_ssize_t count = PyBytes_GET_SIZE(of->results);
    memset(slots, 0, 8 * WASMTIME_STRIDE * count);
    slots[WASMTIME_STRIDE * count] = 1;
    return 0;
}

static int suspending_run(Suspending *self, uint64_t *slots, ThisThread *thread) {
    Signature *of = &self->host.sig;
    if (!wasmtime_has_room(thread))
        return -1;
    if (self->goes_on) {
        Promises *promises = (Promises *)of->engine;
        PyObject *host = promises->host;
        promises->host = NULL;
        return suspending_advance(self, host, slots);
    }
    PyObject *answer = host_ask(&self->host, slots, WASMTIME_STRIDE);
    if (answer == NULL)
        return -1;
    if (PyGen_CheckExact(answer))
        return suspending_advance(self, answer, slots);
    return suspending_finish(self, answer, slots);
}

/* A wasmtime_func_unchecked_callback_t, whose environment is a Suspending. */
static void *suspending_callback(void *environment, void *Py_UNUSED(caller), uint64_t *slots,
                                 size_t Py_UNUSED(count)) {
    void *trap = NULL;
    ThisThread *thread = &this_thread;
    HostThread entered = host_entered(thread);
    Suspending *self = environment;
    Py_INCREF(self);
    if (suspending_run(self, slots, thread) < 0) {
        gate_keep_exception(self->host.sig.gate);
        trap = wasmtime.trap_new(WASMTIME_END, sizeof WASMTIME_END - 1);
    }
    Py_DECREF(self);
    host_left(thread, entered);
    return trap;
}

static PyObject *Suspending_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Signature read;
    int goes_on;
    if (!PyArg_ParseTuple(args, "p" SIGNATURE_FORMAT, &goes_on, SIGNATURE_ITEMS(read)))
        return NULL;
    if (!Py_IS_TYPE(read.engine, &Promises_type)) {
        PyErr_SetString(PyExc_TypeError, "a suspending host function belongs to a WasmtimePromises");
        return NULL;
    }
    Suspending *self = (Suspending *)type->tp_alloc(type, 0);
    if (self != NULL && signature_set(&self->host.sig, &read) < 0)
        Py_CLEAR(self);
    if (self != NULL)
        self->goes_on = goes_on;
    return (PyObject *)self;
}

static PyTypeObject Suspending_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.WasmtimeSuspending",
    .tp_doc = "What a guest calls that may be suspended in it; to be kept while it may call.",
    .tp_base = &Host_type,
    .tp_basicsize = sizeof(Suspending),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Suspending_new,
};

#endif
