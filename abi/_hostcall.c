/* Host functions as guests import them, in C: optional, and equal to what anywasm.abi.binding writes
 * in Python. Arguments are read from the guest's memory, the implementation is called with the
 * effective context, and its results are written back, into memory that the guest allocates. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../core/_memory.h"
#include "_guestcall.h"
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are copied as they are, which takes a little-endian machine"
#endif

/* Inputs and outputs of a host function at most; each takes up to two of the guest's values. */
#define MOST 8

static PyObject *bounds_error, *status_type, *guest_memory_type;
static PyObject *no_phase, *allocation_phase;
static PyObject *invalid_access, *ok; /* the status that a bad address is; what went well */
static PyObject *name_refuse, *name_read, *name_write, *name_write_u32,
    *name_write_u64, *name_offer;
static PyObject *plain_read; /* Memory.read */
static struct {
    Py_ssize_t memory, allocator;
} guest_memory_at;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;       /* the HostFunction, for `Guest.refuse` */
    PyObject *implementation; /* (context, *inputs) -> outputs, or a Status */
    PyObject *guest;
    PyObject *memory;         /* the GuestMemory */
    char inputs[MOST + 1];    /* `d` data, `i` i32, `l` i64, `u` anything unsigned */
    char outputs[MOST + 1];   /* `d` data, `o` data that may not be wanted, `u` u32, `w` u64 */
    Py_ssize_t values, first; /* that the guest gives, and the first of them for an output */
    int restricted;           /* to some phases */
} HostCall;

/* Whether the bytes of this memory may be reached past its methods: none of them is its own. */
static int is_plain(PyObject *memory) {
    static PyTypeObject *known;
    static int plain;
    if (Py_TYPE(memory) == known)
        return plain;
    plain = 0;
    if (PyObject_TypeCheck(memory, memory_type)) {
        PyObject *read = PyObject_GetAttr((PyObject *)Py_TYPE(memory), name_read);
        if (read == NULL)
            PyErr_Clear();
        else /* the other is the engines' extension */
            plain = read == plain_read || Py_IS_TYPE(read, &PyMethodDescr_Type);
        Py_XDECREF(read);
    }
    Py_INCREF(Py_TYPE(memory)); /* for good: there are as many as engines */
    known = Py_TYPE(memory);
    return plain;
}

static char *place(PyObject *memory, PyObject *address, Py_ssize_t width) {
    return is_plain(memory) ? reach(memory, address, width) : NULL;
}

/* --- from the guest ---------------------------------------------------------------------------- */

static PyObject *read_data(PyObject *memory, PyObject *address, PyObject *size) {
    Py_ssize_t count = PyLong_AsSsize_t(size);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    if (count == 0) /* never fails, whatever the pointer (Rust guests send 1) */
        return PyBytes_FromStringAndSize(NULL, 0);
    char *from = place(memory, address, count);
    if (from != NULL)
        return PyBytes_FromStringAndSize(from, count);
    return PyObject_CallMethodObjArgs(memory, name_read, address, size, NULL);
}

/* Whether `width` bytes at an address can be written: 0, or -1 with an exception. */
static int check_place(PyObject *memory, PyObject *address, long width) {
    if (place(memory, address, width) != NULL)
        return 0;
    PyObject *size = PyLong_FromLong(width);
    PyObject *answer = size == NULL ? NULL
                                    : PyObject_CallMethodObjArgs(memory, name_read, address, size, NULL);
    Py_XDECREF(size);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* An i32 or i64 of what came as unsigned bits. */
static PyObject *as_signed(char kind, PyObject *value) {
    unsigned long long bits = PyLong_AsUnsignedLongLong(value);
    if (bits == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLongLong(kind == 'i' ? (int32_t)(uint32_t)bits : (int64_t)bits);
}

/* Fills `inputs`, and counts in `made` how many there are. */
static int decode(HostCall *self, PyObject *memory, PyObject *const *args, PyObject **inputs,
                  Py_ssize_t *made) {
    for (const char *kind = self->inputs; *kind; kind++) {
        PyObject *value = *args;
        if (*kind == 'd') {
            value = read_data(memory, args[0], args[1]);
            args++;
        } else if (*kind == 'u') {
            Py_INCREF(value);
        } else {
            value = as_signed(*kind, value);
        }
        if (value == NULL)
            return -1;
        inputs[(*made)++] = value;
        args++;
    }
    /* Addresses for results are tried before the function acts: what it did could not be undone. */
    for (const char *kind = self->outputs; *kind; kind++) {
        if (*kind == 'o') {
            args += 2;
        } else if (*kind == 'd') {
            if (check_place(memory, args[0], 4) < 0 || check_place(memory, args[1], 4) < 0)
                return -1;
            args += 2;
        } else if (check_place(memory, *args++, *kind == 'u' ? 4 : 8) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- to the guest ------------------------------------------------------------------------------ */

static int write_number(PyObject *memory, char kind, PyObject *address, PyObject *value) {
    Py_ssize_t width = kind == 'u' ? 4 : 8;
    if (PyLong_Check(value)) {
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        int fits = !overflow && number >= 0 && (kind == 'w' || number <= UINT32_MAX);
        char *to = fits ? place(memory, address, width) : NULL;
        if (to != NULL) {
            memcpy(to, &number, (size_t)width);
            return 0;
        }
    }
    PyObject *answer = PyObject_CallMethodObjArgs(
        memory, kind == 'u' ? name_write_u32 : name_write_u64, address, value, NULL);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* Calls the guest's allocator, which may call few host functions. */
static PyObject *allocate(HostCall *self, PyObject *size) {
    PyObject *allocator = slot_at(self->memory, guest_memory_at.allocator);
    Py_INCREF(allocation_phase), Py_INCREF(allocator);
    PyObject *outer = slot_swap(self->guest, guest_at.phase, allocation_phase);
    PyObject *address = PyObject_CallOneArg(allocator, size);
    slot_set(self->guest, guest_at.phase, outer);
    Py_DECREF(allocator);
    return address;
}

static int write_data(PyObject *memory, PyObject *address, PyObject *data) {
    char *to = PyBytes_Check(data) ? place(memory, address, PyBytes_GET_SIZE(data)) : NULL;
    if (to != NULL) {
        memcpy(to, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
        return 0;
    }
    PyObject *answer = PyObject_CallMethodObjArgs(memory, name_write, address, data, NULL);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* As `GuestMemory.give`: 1, or 0 where the allocator failed, or -1 with an exception. */
static int give(HostCall *self, PyObject *memory, PyObject *data, PyObject *at, PyObject *size_at) {
    Py_ssize_t count = PyObject_Length(data);
    PyObject *size = count < 0 ? NULL : PyLong_FromSsize_t(count), *address;
    if (size == NULL)
        return -1;
    if (count == 0) {
        address = ok; /* the number 0 */
        Py_INCREF(address);
    } else {
        address = allocate(self, size);
    }
    int status = address == NULL ? -1 : count == 0 ? 1 : PyObject_IsTrue(address);
    if (status > 0 && count > 0 && write_data(memory, address, data) < 0)
        status = -1;
    if (status > 0 && (write_number(memory, 'u', at, address) < 0 ||
                       write_number(memory, 'u', size_at, size) < 0))
        status = -1;
    Py_DECREF(size);
    Py_XDECREF(address);
    return status;
}

static int offer(HostCall *self, PyObject *data, PyObject *at, PyObject *size_at) {
    PyObject *answer = PyObject_CallMethodObjArgs(self->memory, name_offer, data, at, size_at, NULL);
    int status = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return status;
}

/* Writes the outputs: 1, or 0 where the allocator failed, or -1 with an exception. */
static int encode(HostCall *self, PyObject *memory, PyObject *const *args, PyObject *const *results) {
    int status = 1;
    for (const char *kind = self->outputs; *kind && status > 0; kind++, results++) {
        if (*kind == 'd')
            status = give(self, memory, *results, args[0], args[1]);
        else if (*kind == 'o')
            status = offer(self, *results, args[0], args[1]);
        else if (write_number(memory, *kind, args[0], *results) < 0)
            status = -1;
        args += *kind == 'd' || *kind == 'o' ? 2 : 1;
    }
    return status;
}

/* --- the call ---------------------------------------------------------------------------------- */

/* The status for a bad address, in place of that exception; NULL for all others. */
static PyObject *bad_address(void) {
    if (!PyErr_ExceptionMatches(bounds_error))
        return NULL;
    PyErr_Clear();
    Py_INCREF(invalid_access);
    return invalid_access;
}

static PyObject *finish(HostCall *self, PyObject *memory, PyObject *const *args, PyObject *returned) {
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

static PyObject *run(HostCall *self, PyObject *memory, PyObject *const *args) {
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

static PyObject *HostCall_call(PyObject *callable, PyObject *const *args, size_t flags,
                               PyObject *names) {
    HostCall *self = (HostCall *)callable;
    if (names != NULL || PyVectorcall_NARGS(flags) != self->values) {
        PyErr_Format(PyExc_TypeError, "%R takes %zd values", self->implementation, self->values);
        return NULL;
    }
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
        {&name_offer, "offer"},
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

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "anywasm.abi._hostcall",
    .m_doc = "Host functions in C.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__hostcall(void) {
    if (memory_find() < 0 || find_names() < 0 || find_classes() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddType(module, &HostCall_type) < 0 ||
                           PyModule_AddType(module, &GuestCall_type) < 0))
        Py_CLEAR(module);
    return module;
}
