/* A guest's function as a Python callable, over slots; how the guest is run is its engine's. */

#ifndef ANYWASM_FASTCALL_EXPORT_H
#define ANYWASM_FASTCALL_EXPORT_H

#include "_fastcall_signature.h"

typedef struct Export {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Signature sig;
    size_t values; /* that the slots of a call must hold, at least one */
} Export;

/* How a guest's function is run on slots: 0, or -1 with an exception. */
typedef int (*ExportRun)(Export *self, uint64_t *slots, ThisThread *thread);

/* Takes the arguments into slots, `stride` of which are one value's. */
static inline int export_take(Export *self, PyObject *const *args, Py_ssize_t given, uint64_t *slots,
                              size_t stride) {
    const char *params = PyBytes_AS_STRING(self->sig.params);
    int bad = given != PyBytes_GET_SIZE(self->sig.params);
    if (bad)
        PyErr_SetNone(PyExc_ValueError);
    for (Py_ssize_t i = 0; !bad && i < given; i++)
        bad = store_value(params[i], args[i], slots + stride * i) < 0;
    if (bad)
        refuse_arguments(&self->sig, args, given);
    return bad ? -1 : 0;
}

static inline PyObject *export_give(Export *self, const uint64_t *slots, size_t stride) {
    const char *results = PyBytes_AS_STRING(self->sig.results);
    Py_ssize_t returned = PyBytes_GET_SIZE(self->sig.results);
    if (returned == 1)
        return load_value(results[0], slots);
    if (returned == 0)
        Py_RETURN_NONE;
    PyObject *answer = PyTuple_New(returned);
    for (Py_ssize_t i = 0; answer != NULL && i < returned; i++) {
        PyObject *value = load_value(results[i], slots + stride * i);
        if (value == NULL)
            Py_CLEAR(answer);
        else
            PyTuple_SET_ITEM(answer, i, value);
    }
    return answer;
}

static RARE int refuse_names(Signature *of) {
    PyErr_Format(PyExc_TypeError, "%U takes no keyword arguments", of->name);
    return -1;
}

/* Whether a call may begin: no names, and through the gate. */
static inline int export_enter(Signature *of, int names, ThisThread *thread) {
    return names ? refuse_names(of) : gate_enter(of->gate, thread);
}

/* A call, which each engine makes its own of: with `run` and `stride` known it is one function. */
static inline __attribute__((always_inline)) PyObject *
export_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names, ExportRun run,
            size_t stride) {
    Export *self = (Export *)callable;
    ThisThread *thread = &this_thread;
    if (export_enter(&self->sig, names != NULL && PyTuple_GET_SIZE(names), thread) < 0)
        return NULL;
    uint64_t few[2 * FEW], *slots = few;
    PyObject *answer = NULL;
    Py_INCREF(self);
    if (self->values > FEW)
        slots = PyMem_Malloc(8 * stride * self->values);
    if (slots == NULL)
        PyErr_NoMemory();
    else if (export_take(self, args, PyVectorcall_NARGS(flags), slots, stride) == 0 &&
             run(self, slots, thread) == 0)
        answer = export_give(self, slots, stride);
    if (slots != few)
        PyMem_Free(slots);
    gate_leave(self->sig.gate);
    Py_DECREF(self);
    return answer;
}

/* Raises the exception of a host function that ended a call: as itself, with no Python in between,
 * which may be what ran out of depth. 0 where none did. */
static int export_raise_pending(Export *self) {
    PyObject **pending = (PyObject **)((char *)self->sig.gate + gate_at.pending), *reason = *pending;
    if (reason == NULL || reason == Py_None)
        return 0;
    Py_INCREF(Py_None);
    *pending = Py_None;
    PyErr_SetObject((PyObject *)Py_TYPE(reason), reason);
    Py_DECREF(reason);
    return 1;
}

/* Raises what `fail(...)`, whose answer is given here, should have raised. */
static void export_failed(PyObject *answer) {
    if (answer != NULL) {
        Py_DECREF(answer);
        PyErr_SetString(PyExc_SystemError, "a failed call raised nothing");
    }
}

/* Sets up what `tp_alloc` made of a subtype; 0, or -1 with an exception. */
static int export_set(Export *self, const Signature *read, vectorcallfunc call) {
    if (signature_set(&self->sig, read) < 0)
        return -1;
    Py_ssize_t in = PyBytes_GET_SIZE(read->params), out = PyBytes_GET_SIZE(read->results);
    self->vectorcall = call;
    self->values = in > out ? in : out > 0 ? out : 1;
    return 0;
}

static int Export_traverse(PyObject *self, visitproc visit, void *arg) {
    return signature_traverse(&((Export *)self)->sig, visit, arg);
}

static void Export_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    signature_clear(&((Export *)self)->sig);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *Export_repr(PyObject *self) {
    Signature *of = &((Export *)self)->sig;
    return PyUnicode_FromFormat("<export %U: %S>", of->name, of->type);
}

/* No type here has a tp_clear: like a tuple, each is part of a cycle only together with what has. */
static PyTypeObject Export_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Export",
    .tp_doc = "A guest's function.",
    .tp_basicsize = sizeof(Export),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                Py_TPFLAGS_BASETYPE,
    .tp_vectorcall_offset = offsetof(Export, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_traverse = Export_traverse,
    .tp_dealloc = Export_dealloc,
    .tp_repr = Export_repr,
};

#endif
