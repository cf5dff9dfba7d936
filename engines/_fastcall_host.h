/* A host function as a guest calls it, over slots; where these are is its engine's. */

#ifndef ANYWASM_FASTCALL_HOST_H
#define ANYWASM_FASTCALL_HOST_H

#include "../core/_bits.h"
#include "_fastcall_signature.h"

typedef struct {
    PyObject_HEAD
    Signature sig;
    CallBits bits; /* the target's, which takes the values as they are, or NULL */
} Host;

static int host_store(Signature *of, PyObject *returned, uint64_t *slots, size_t stride) {
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
            bad = store_value(types[i], PyTuple_GET_ITEM(items, i), slots + stride * i) < 0;
        Py_XDECREF(items);
    }
    if (bad)
        refuse_result(of, returned);
    return bad ? -1 : 0;
}

/* Values that a function takes as they are, at most. */
#define MOST_BITS 16

/* Whether all of its arguments are i32 or i64, and few enough. */
static int takes_bits(PyObject *params) {
    const char *types = PyBytes_AS_STRING(params);
    Py_ssize_t count = PyBytes_GET_SIZE(params), i = 0;
    while (i < count && (types[i] == 'i' || types[i] == 'l'))
        i++;
    return i == count && count <= MOST_BITS;
}

/* The answer to arguments in slots, or NULL with an exception. */
static PyObject *host_answer_bits(Host *self, const uint64_t *slots, size_t stride) {
    const char *types = PyBytes_AS_STRING(self->sig.params);
    Py_ssize_t count = PyBytes_GET_SIZE(self->sig.params);
    uint64_t values[MOST_BITS];
    for (Py_ssize_t i = 0; i < count; i++)
        values[i] = types[i] == 'i' ? (uint32_t)slots[stride * i] : slots[stride * i];
    return self->bits(self->sig.target, values, count);
}

/* The same with an object for each. */
static PyObject *host_answer(Signature *of, PyObject **args, const uint64_t *slots, size_t stride) {
    const char *types = PyBytes_AS_STRING(of->params);
    Py_ssize_t count = PyBytes_GET_SIZE(of->params), made = 0;
    PyObject *returned = NULL;
    while (made < count && (args[made] = load_value(types[made], slots + stride * made)) != NULL)
        made++;
    if (made == count)
        returned = PyObject_Vectorcall(of->target, args, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (made > 0)
        Py_DECREF(args[--made]);
    return returned;
}

/* As `host_answer`, with room for the arguments. */
static PyObject *host_ask(Host *self, const uint64_t *params, size_t stride) {
    if (self->bits != NULL)
        return host_answer_bits(self, params, stride);
    Signature *of = &self->sig;
    PyObject *few[FEW + 1], **args = few;
    Py_ssize_t count = PyBytes_GET_SIZE(of->params);
    if (count > FEW && (args = PyMem_New(PyObject *, count + 1)) == NULL)
        return PyErr_NoMemory();
    PyObject *returned = host_answer(of, args + 1, params, stride);
    if (args != few)
        PyMem_Free(args);
    return returned;
}

/* Calls the host function; 0, or -1 with an exception. */
static int host_run(Host *self, const uint64_t *params, uint64_t *results, size_t stride) {
    PyObject *returned = host_ask(self, params, stride);
    if (returned == NULL)
        return -1;
    int status = host_store(&self->sig, returned, results, stride);
    Py_DECREF(returned);
    return status < 0 ? -1 : check_overdue(&self->sig);
}

static PyObject *Host_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Signature read;
    if (!PyArg_ParseTuple(args, SIGNATURE_FORMAT, SIGNATURE_ITEMS(read)))
        return NULL;
    Host *self = (Host *)type->tp_alloc(type, 0);
    if (self != NULL && signature_set(&self->sig, &read) < 0)
        Py_CLEAR(self);
    if (self != NULL && takes_bits(read.params))
        self->bits = bits_of(read.target);
    return (PyObject *)self;
}

static PyObject *Host_address(PyObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromVoidPtr(self);
}

static PyGetSetDef Host_getset[] = {
    {"address", Host_address, NULL, "What the guest's import gives back when it calls.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int Host_traverse(PyObject *self, visitproc visit, void *arg) {
    return signature_traverse(&((Host *)self)->sig, visit, arg);
}

static void Host_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    signature_clear(&((Host *)self)->sig);
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject Host_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Host",
    .tp_doc = "What a guest's import calls; to be kept while the guest may call it.",
    .tp_basicsize = sizeof(Host),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_getset = Host_getset,
    .tp_new = Host_new,
    .tp_traverse = Host_traverse,
    .tp_dealloc = Host_dealloc,
};

#endif
