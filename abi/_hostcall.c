/* Host functions as guests import them, in C: optional, and equal to what anywasm.abi.binding writes
 * in Python. Arguments are read from the guest's memory, the implementation is called with the
 * effective context, and its results are written back, into memory that the guest allocates. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../core/_bits.h"
#include "_accelerated.h"
#include "_contexts.h"
#include "_headers_type.h"
#include "_maps.h"
#include "_marshal.h"

/* --- the call ---------------------------------------------------------------------------------- */

/* The status for a bad address, in place of that exception; NULL for all others. */
static PyObject *bad_address(void) {
    if (!PyErr_ExceptionMatches(bounds_error))
        return NULL;
    PyErr_Clear();
    Py_INCREF(invalid_access);
    return invalid_access;
}

static PyObject *finish(HostCall *self, PyObject *memory, const uint64_t *args, PyObject *returned) {
    size_t count = strlen(self->outputs);
    if (count == 0) {
        PyObject *status = returned == Py_None ? ok : returned;
        Py_INCREF(status);
        return status;
    }
    if ((PyObject *)Py_TYPE(returned) == status_type) {
        Py_INCREF(returned);
        return returned;
    }
    PyObject *const *results = &returned;
    if (count > 1) {
        if (!PyTuple_Check(returned) || PyTuple_GET_SIZE(returned) != (Py_ssize_t)count) {
            PyErr_Format(PyExc_ValueError, "%R must return %zu values", self->implementation, count);
            return NULL;
        }
        results = ((PyTupleObject *)returned)->ob_item;
    }
    int status = encode(self, memory, args, results);
    if (status < 0)
        return bad_address();
    PyObject *answer = status ? ok : invalid_access;
    Py_INCREF(answer);
    return answer;
}

static PyObject *run(HostCall *self, PyObject *memory, const uint64_t *args) {
    PyObject *inputs[MOST + 2] = {NULL}, *answer = NULL, *returned = NULL; /* one ahead, for vectorcall */
    Py_ssize_t made = 2;
    if (decode(self, memory, args, inputs, &made) < 0) {
        answer = bad_address();
    } else {
        inputs[1] = slot_at(self->guest, guest_at.effective);
        Py_INCREF(inputs[1]);
        returned = PyObject_Vectorcall(self->implementation, inputs + 1,
                                       (size_t)(made - 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (returned != NULL)
            answer = finish(self, memory, args + self->first, returned);
        Py_XDECREF(returned);
    }
    for (Py_ssize_t i = 1; i < made; i++)
        Py_XDECREF(inputs[i]);
    return answer;
}

static PyObject *refuse_count(HostCall *self) {
    PyErr_Format(PyExc_TypeError, "%R takes %zd values", self->implementation, self->values);
    return NULL;
}

static PyObject *HostCall_bits(PyObject *callable, const uint64_t *args, Py_ssize_t count) {
    HostCall *self = (HostCall *)callable;
    if (count != self->values)
        return refuse_count(self);
    if (self->restricted) {
        if (slot_at(self->guest, guest_at.phase) != no_phase) {
            PyObject *answer = PyObject_CallMethodOneArg(self->guest, name_refuse, self->function);
            if (answer == NULL)
                return NULL;
            Py_DECREF(answer);
        }
    }
    PyObject *memory = slot_at(self->memory, guest_memory_at.memory);
    Py_INCREF(self);
    Py_INCREF(memory);
    PyObject *answer = run(self, memory, args);
    Py_DECREF(memory);
    Py_DECREF(self);
    return answer;
}

static PyObject *HostCall_call(PyObject *callable, PyObject *const *args, size_t flags,
                               PyObject *names) {
    HostCall *self = (HostCall *)callable;
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    uint64_t values[2 * MOST * 2];
    if (names != NULL || count != self->values)
        return refuse_count(self);
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i] = PyLong_AsUnsignedLongLong(args[i]);
        if (values[i] == (uint64_t)-1 && PyErr_Occurred())
            return NULL;
    }
    return HostCall_bits(callable, values, count);
}

/* How many of the guest's values these kinds take, or -1 with an exception. */
static Py_ssize_t count_values(const char *kinds, const char *pairs) {
    Py_ssize_t count = 0;
    if (strlen(kinds) > MOST) {
        PyErr_SetString(PyExc_ValueError, "a host function has too many inputs or outputs");
        return -1;
    }
    for (; *kinds; kinds++)
        count += strchr(pairs, *kinds) != NULL ? 2 : 1;
    return count;
}

static PyObject *HostCall_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *function, *implementation, *guest, *memory;
    const char *inputs, *outputs;
    int restricted;
    if (find_guest() < 0)
        return NULL;
    if (!PyArg_ParseTuple(args, "OOO!O!ssp", &function, &implementation, guest_type, &guest,
                          guest_memory_type, &memory, &inputs, &outputs, &restricted))
        return NULL;
    Py_ssize_t first = count_values(inputs, "d"), more = count_values(outputs, "do");
    HostCall *self = first < 0 || more < 0 ? NULL : (HostCall *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = HostCall_call;
    self->first = first;
    self->values = first + more;
    self->restricted = restricted;
    strcpy(self->inputs, inputs);
    strcpy(self->outputs, outputs);
    Py_INCREF(function), Py_INCREF(implementation), Py_INCREF(guest), Py_INCREF(memory);
    self->function = function;
    self->implementation = implementation;
    self->guest = guest;
    self->memory = memory;
    return (PyObject *)self;
}

static int HostCall_traverse(PyObject *object, visitproc visit, void *arg) {
    HostCall *self = (HostCall *)object;
    Py_VISIT(self->function);
    Py_VISIT(self->implementation);
    Py_VISIT(self->guest);
    Py_VISIT(self->memory);
    return 0;
}

static void HostCall_dealloc(PyObject *object) {
    HostCall *self = (HostCall *)object;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->function);
    Py_XDECREF(self->implementation);
    Py_XDECREF(self->guest);
    Py_XDECREF(self->memory);
    Py_TYPE(self)->tp_free(self);
}

/* It has no tp_clear: like a tuple, it is part of a cycle only together with what has. */
static PyTypeObject HostCall_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.abi._hostcall.HostCall",
    .tp_doc = "A host function of one guest.",
    .tp_basicsize = sizeof(HostCall),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(HostCall, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = HostCall_new,
    .tp_traverse = HostCall_traverse,
    .tp_dealloc = HostCall_dealloc,
};

static int find_names(void) {
    struct {
        PyObject **to;
        const char *name;
    } names[] = {
        {&name_refuse, "refuse"},
        {&name_read, "read"},
        {&name_write, "write"},
        {&name_write_u32, "write_u32"},
        {&name_write_u64, "write_u64"},
        {&name_limit, "limit"},
        {&name_broke, "broke"},
        {&name_after_call, "after_call"},
        {&name_arm, "_arm"},
        {&name_armed_until, "_armed_until"},
        {&name_set_deadline, "set_deadline"},
        {&name_restore_deadline, "restore_deadline"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((*names[i].to = PyUnicode_InternFromString(names[i].name)) == NULL)
            return -1;
    return 0;
}

static int find_classes(void) {
    PyObject *phase = import_from("anywasm.abi.table", "Phase");
    bounds_error = import_from("anywasm.core.errors", "MemoryBoundsError");
    status_type = import_from("anywasm.abi.enums", "Status");
    guest_memory_type = import_from("anywasm.abi.guest_memory", "GuestMemory");
    invalid_access = PyLong_FromLong(6);
    ok = PyLong_FromLong(0);
    if (phase == NULL || bounds_error == NULL || status_type == NULL || guest_memory_type == NULL ||
        invalid_access == NULL || ok == NULL)
        return -1;
    no_phase = PyObject_GetAttrString(phase, "NONE");
    allocation_phase = PyObject_GetAttrString(phase, "ALLOCATION");
    Py_DECREF(phase);
    plain_read = PyObject_GetAttr((PyObject *)memory_type, name_read);
    if (no_phase == NULL || allocation_phase == NULL || plain_read == NULL)
        return -1;
    guest_memory_at.memory = slot_offset(guest_memory_type, "_memory");
    if (guest_memory_at.memory < 0)
        return -1;
    guest_memory_at.allocator = slot_offset(guest_memory_type, "_allocator");
    return guest_memory_at.allocator < 0 ? -1 : 0;
}

static PyMethodDef functions[] = {
    {"accelerated", accelerated, METH_VARARGS, "The C equal of a host function, or itself."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "anywasm.abi._hostcall",
    .m_doc = "Host functions in C.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__hostcall(void) {
    if (memory_find() < 0 || find_names() < 0 || find_classes() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddType(module, &HostCall_type) < 0 ||
                           PyModule_AddType(module, &GuestCall_type) < 0 ||
                           PyModule_AddType(module, &Contexts_type) < 0 ||
                           PyModule_AddType(module, &HeaderMap_type) < 0 ||
                           bits_offer(&HostCall_type, HostCall_bits) < 0))
        Py_CLEAR(module);
    return module;
}
