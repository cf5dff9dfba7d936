/* Exports and host functions over wasmtime's unchecked calls. The GIL is released while the guest
 * runs and taken back for host functions. */

#ifndef ANYWASM_FASTCALL_CALLS_H
#define ANYWASM_FASTCALL_CALLS_H

#include "_fastcall_gate.h"
#include "_fastcall_values.h"

/* wasmtime.h's, without its types. */
typedef void *(*CallUnchecked)(void *context, const void *func, void *slots, size_t count, void **trap);
typedef void *(*TrapNew)(const char *message, size_t length);
typedef void (*Delete)(void *owned);

static struct {
    CallUnchecked call;
    TrapNew trap_new;
    Delete trap_delete, error_delete;
    PyObject *measure;  /* () -> the address above which this thread may run host functions */
    PyObject *too_deep; /* () raises what stands against one below it */
} engine;

/* The thread's `measure()`, 0 before it was taken. */
static _Thread_local uintptr_t floor_of_stack;
/* The state that an export gave up with the GIL, NULL where the GIL went in other ways. */
static _Thread_local PyThreadState *given_up;

/* Values that are kept on the stack; more are allocated. */
#define FEW 8

static const char END_TEXT[] = "ended by the host";

static int measure_stack(void) {
    PyObject *answer = PyObject_CallNoArgs(engine.measure);
    if (answer == NULL)
        return -1;
    floor_of_stack = (uintptr_t)PyLong_AsUnsignedLongLong(answer);
    Py_DECREF(answer);
    return PyErr_Occurred() ? -1 : 0;
}

/* What Export and Host share: their names and types, and the gate of their instance. */
typedef struct {
    PyObject *gate;
    PyObject *name;
    PyObject *type;    /* the FuncType, for messages */
    PyObject *params;  /* bytes: a letter for each value */
    PyObject *results;
    PyObject *target;  /* an export's `fail`, a host function's callable */
} Signature;

static int signature_set(Signature *to, PyObject *gate, PyObject *name, PyObject *type,
                         PyObject *params, PyObject *results, PyObject *target) {
    if (!gate_fits(gate))
        return -1;
    *to = (Signature){gate, name, type, params, results, target};
    Py_INCREF(gate), Py_INCREF(name), Py_INCREF(type);
    Py_INCREF(params), Py_INCREF(results), Py_INCREF(target);
    return 0;
}

static int signature_traverse(Signature *of, visitproc visit, void *arg) {
    Py_VISIT(of->gate);
    Py_VISIT(of->type);
    Py_VISIT(of->target);
    return 0;
}

static void signature_clear(Signature *of) {
    Py_CLEAR(of->gate);
    Py_CLEAR(of->name);
    Py_CLEAR(of->type);
    Py_CLEAR(of->params);
    Py_CLEAR(of->results);
    Py_CLEAR(of->target);
}

/* --- exports ----------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Signature sig;
    void *context;
    uint64_t func[4]; /* a copy of the wasmtime_func_t */
    size_t count;     /* values that the buffer of a call must hold */
} ExportObject;

/* Raises what ended a call: a host function's exception as itself, with no Python in between, which
 * may be what ran out of depth; else what `fail(error, trap)` makes of the guest's. */
static void export_failed(ExportObject *self, void *error, void *trap) {
    PyObject **pending = (PyObject **)((char *)self->sig.gate + gate_at.pending), *reason = *pending;
    if (reason != NULL && reason != Py_None) {
        if (error != NULL)
            engine.error_delete(error);
        else
            engine.trap_delete(trap);
        Py_INCREF(Py_None);
        *pending = Py_None;
        PyErr_SetObject((PyObject *)Py_TYPE(reason), reason);
        Py_DECREF(reason);
        return;
    }
    PyObject *answer = PyObject_CallFunction(self->sig.target, "KK", (unsigned long long)(uintptr_t)error,
                                             (unsigned long long)(uintptr_t)trap);
    if (answer != NULL) {
        Py_DECREF(answer);
        PyErr_SetString(PyExc_SystemError, "a failed call raised nothing");
    }
}

static PyObject *export_run(ExportObject *self, uint64_t *slots, PyObject *const *args, Py_ssize_t given) {
    const char *params = PyBytes_AS_STRING(self->sig.params);
    const char *results = PyBytes_AS_STRING(self->sig.results);
    Py_ssize_t returned = PyBytes_GET_SIZE(self->sig.results);
    int bad = given != PyBytes_GET_SIZE(self->sig.params);
    if (bad)
        PyErr_SetNone(PyExc_ValueError);
    for (Py_ssize_t i = 0; !bad && i < given; i++)
        bad = store_value(params[i], args[i], slots + STRIDE * i) < 0;
    if (bad) {
        PyObject *kind, *value, *traceback; /* the tuple is made with no exception set */
        PyErr_Fetch(&kind, &value, &traceback);
        PyObject *all = PyTuple_New(given);
        if (all == NULL) {
            Py_XDECREF(kind), Py_XDECREF(value), Py_XDECREF(traceback);
            return NULL;
        }
        for (Py_ssize_t i = 0; i < given; i++) {
            Py_INCREF(args[i]);
            PyTuple_SET_ITEM(all, i, args[i]);
        }
        PyErr_Restore(kind, value, traceback);
        raise_refusal(bad_arguments, self->sig.name, self->sig.type, all);
        Py_DECREF(all);
        return NULL;
    }
    if (!floor_of_stack && measure_stack() < 0)
        return NULL;

    void *trap = NULL;
    /* Python code that runs while the guest is interrupted may call exports, too. */
    PyThreadState *outer = given_up;
    PyThreadState *mine = given_up = PyEval_SaveThread();
    void *error = engine.call(self->context, self->func, slots, self->count, &trap);
    PyEval_RestoreThread(mine);
    given_up = outer;
    if (error != NULL || trap != NULL) {
        export_failed(self, error, trap);
        return NULL;
    }

    if (returned == 1)
        return load_value(results[0], slots);
    if (returned == 0)
        Py_RETURN_NONE;
    PyObject *answer = PyTuple_New(returned);
    for (Py_ssize_t i = 0; answer != NULL && i < returned; i++) {
        PyObject *value = load_value(results[i], slots + STRIDE * i);
        if (value == NULL)
            Py_CLEAR(answer);
        else
            PyTuple_SET_ITEM(answer, i, value);
    }
    return answer;
}

static PyObject *export_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    ExportObject *self = (ExportObject *)callable;
    if (names != NULL && PyTuple_GET_SIZE(names)) {
        PyErr_Format(PyExc_TypeError, "%U takes no keyword arguments", self->sig.name);
        return NULL;
    }
    if (gate_enter(self->sig.gate) < 0)
        return NULL;
    uint64_t few[STRIDE * FEW], *slots = few;
    PyObject *answer = NULL;
    Py_INCREF(self);
    if (self->count > FEW)
        slots = PyMem_Malloc(8 * STRIDE * self->count);
    if (slots == NULL)
        PyErr_NoMemory();
    else
        answer = export_run(self, slots, args, PyVectorcall_NARGS(flags));
    if (slots != few)
        PyMem_Free(slots);
    gate_leave(self->sig.gate);
    Py_DECREF(self);
    return answer;
}

static PyObject *Export_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long context;
    const char *func;
    Py_ssize_t size;
    PyObject *gate, *name, *func_type, *params, *results, *fail;
    if (!PyArg_ParseTuple(args, "Ky#OUOSSO", &context, &func, &size, &gate, &name, &func_type, &params,
                          &results, &fail))
        return NULL;
    ExportObject *self = (ExportObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (size > (Py_ssize_t)sizeof self->func) {
        PyErr_SetString(PyExc_ValueError, "a wasmtime_func_t is smaller");
        Py_CLEAR(self);
    } else if (signature_set(&self->sig, gate, name, func_type, params, results, fail) < 0) {
        Py_CLEAR(self);
    } else {
        Py_ssize_t in = PyBytes_GET_SIZE(params), out = PyBytes_GET_SIZE(results);
        self->vectorcall = export_call;
        self->context = (void *)(uintptr_t)context;
        memcpy(self->func, func, size);
        self->count = in > out ? in : out > 0 ? out : 1;
    }
    return (PyObject *)self;
}

static int Export_traverse(PyObject *self, visitproc visit, void *arg) {
    return signature_traverse(&((ExportObject *)self)->sig, visit, arg);
}

static void Export_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    signature_clear(&((ExportObject *)self)->sig);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *Export_repr(PyObject *self) {
    Signature *of = &((ExportObject *)self)->sig;
    return PyUnicode_FromFormat("<export %U: %S>", of->name, of->type);
}

/* Neither type has a tp_clear: like a tuple, each is part of a cycle only together with what has. */
static PyTypeObject Export_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Export",
    .tp_doc = "A guest's function.",
    .tp_basicsize = sizeof(ExportObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(ExportObject, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = Export_new,
    .tp_traverse = Export_traverse,
    .tp_dealloc = Export_dealloc,
    .tp_repr = Export_repr,
};

/* --- host functions ---------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Signature sig;
} HostObject;

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

static int host_store(Signature *of, PyObject *returned, uint64_t *slots) {
    const char *types = PyBytes_AS_STRING(of->results);
    Py_ssize_t count = PyBytes_GET_SIZE(of->results);
    int bad;
    if (count == 0) {
        bad = returned != Py_None;
    } else if (count == 1) {
        bad = store_value(types[0], returned, slots) < 0;
    } else {
        PyObject *items = unpack(returned, count);
        bad = items == NULL;
        for (Py_ssize_t i = 0; !bad && i < count; i++)
            bad = store_value(types[i], PyTuple_GET_ITEM(items, i), slots + STRIDE * i) < 0;
        Py_XDECREF(items);
    }
    if (bad)
        raise_refusal(bad_result, of->name, of->type, returned);
    return bad ? -1 : 0;
}

static int host_call(Signature *of, PyObject **args, uint64_t *slots) {
    const char *types = PyBytes_AS_STRING(of->params);
    Py_ssize_t count = PyBytes_GET_SIZE(of->params), made = 0;
    PyObject *returned = NULL;
    while (made < count && (args[made] = load_value(types[made], slots + STRIDE * made)) != NULL)
        made++;
    if (made == count)
        returned = PyObject_Vectorcall(of->target, args, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (made > 0)
        Py_DECREF(args[--made]);
    if (returned == NULL)
        return -1;
    int status = host_store(of, returned, slots);
    Py_DECREF(returned);
    return status;
}

static int host_run(Signature *of, uint64_t *slots) {
    if (!floor_of_stack && measure_stack() < 0)
        return -1;
    if ((uintptr_t)slots < floor_of_stack) { /* wasmtime keeps them on the stack */
        PyObject *answer = PyObject_CallNoArgs(engine.too_deep);
        Py_XDECREF(answer);
        return -1;
    }
    PyObject *few[FEW + 1], **args = few;
    Py_ssize_t count = PyBytes_GET_SIZE(of->params);
    if (count > FEW && (args = PyMem_New(PyObject *, count + 1)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int status = host_call(of, args + 1, slots);
    if (args != few)
        PyMem_Free(args);
    if (status < 0)
        return -1;
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

/* A wasmtime_func_unchecked_callback_t, whose environment is a Host. */
static void *host_callback(void *environment, void *Py_UNUSED(caller), uint64_t *slots,
                           size_t Py_UNUSED(count)) {
    PyThreadState *mine = given_up;
    PyGILState_STATE state = PyGILState_LOCKED;
    void *trap = NULL;
    if (mine != NULL) {
        given_up = NULL;
        PyEval_RestoreThread(mine);
    } else {
        state = PyGILState_Ensure();
    }
    HostObject *self = environment;
    Py_INCREF(self);
    if (host_run(&self->sig, slots) < 0) {
        gate_keep_exception(self->sig.gate);
        trap = engine.trap_new(END_TEXT, sizeof END_TEXT - 1);
    }
    Py_DECREF(self);
    if (mine != NULL)
        given_up = PyEval_SaveThread();
    else
        PyGILState_Release(state);
    return trap;
}

static PyObject *Host_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *gate, *name, *func_type, *params, *results, *fn;
    if (!PyArg_ParseTuple(args, "OUOSSO", &gate, &name, &func_type, &params, &results, &fn))
        return NULL;
    HostObject *self = (HostObject *)type->tp_alloc(type, 0);
    if (self != NULL && signature_set(&self->sig, gate, name, func_type, params, results, fn) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *Host_address(PyObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromVoidPtr(self);
}

static PyGetSetDef Host_getset[] = {
    {"address", Host_address, NULL, "The environment to define a function with.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int Host_traverse(PyObject *self, visitproc visit, void *arg) {
    return signature_traverse(&((HostObject *)self)->sig, visit, arg);
}

static void Host_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    signature_clear(&((HostObject *)self)->sig);
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject Host_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Host",
    .tp_doc = "What a guest's import calls; to be kept while the guest may call it.",
    .tp_basicsize = sizeof(HostObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_getset = Host_getset,
    .tp_new = Host_new,
    .tp_traverse = Host_traverse,
    .tp_dealloc = Host_dealloc,
};

#endif
