/* Between a guest's values and a host function's: arguments are read from the guest's memory, and results
 * are written back, into memory that the guest allocates. */

#ifndef ANYWASM_MARSHAL_H
#define ANYWASM_MARSHAL_H

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
    *name_write_u64;
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

static char *place(PyObject *memory, uint64_t address, Py_ssize_t width) {
    return is_plain(memory) ? reach_at(memory, (long long)address, width) : NULL;
}

/* Calls a method of two arguments, the first a number. */
static PyObject *ask(PyObject *object, PyObject *method, uint64_t number, PyObject *second) {
    PyObject *first = PyLong_FromUnsignedLongLong(number);
    PyObject *answer =
        first == NULL ? NULL : PyObject_CallMethodObjArgs(object, method, first, second, NULL);
    Py_XDECREF(first);
    return answer;
}

/* --- from the guest ---------------------------------------------------------------------------- */

static PyObject *read_data(PyObject *memory, uint64_t address, uint64_t count) {
    if (count == 0) /* never fails, whatever the pointer (Rust guests send 1) */
        return PyBytes_FromStringAndSize(NULL, 0);
    char *from = place(memory, address, (Py_ssize_t)count);
    if (from != NULL)
        return PyBytes_FromStringAndSize(from, (Py_ssize_t)count);
    PyObject *size = PyLong_FromUnsignedLongLong(count);
    PyObject *data = size == NULL ? NULL : ask(memory, name_read, address, size);
    Py_XDECREF(size);
    return data;
}

/* Whether `width` bytes at an address can be written: 0, or -1 with an exception. */
static int check_place(PyObject *memory, uint64_t address, long width) {
    if (place(memory, address, width) != NULL)
        return 0;
    PyObject *size = PyLong_FromLong(width);
    PyObject *answer = size == NULL ? NULL : ask(memory, name_read, address, size);
    Py_XDECREF(size);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* A number of what came as unsigned bits. */
static PyObject *as_number(char kind, uint64_t bits) {
    if (kind == 'u')
        return PyLong_FromUnsignedLongLong(bits);
    return PyLong_FromLongLong(kind == 'i' ? (int32_t)(uint32_t)bits : (int64_t)bits);
}

/* Fills `inputs`, and counts in `made` how many there are. */
static int decode(HostCall *self, PyObject *memory, const uint64_t *args, PyObject **inputs,
                  Py_ssize_t *made) {
    for (const char *kind = self->inputs; *kind; kind++) {
        PyObject *value =
            *kind == 'd' ? read_data(memory, args[0], args[1]) : as_number(*kind, *args);
        if (value == NULL)
            return -1;
        inputs[(*made)++] = value;
        args += *kind == 'd' ? 2 : 1;
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

static int write_number(PyObject *memory, char kind, uint64_t address, PyObject *value) {
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
    PyObject *answer = ask(memory, kind == 'u' ? name_write_u32 : name_write_u64, address, value);
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
    char *to = PyBytes_Check(data) && is_plain(memory)
                   ? reach(memory, address, PyBytes_GET_SIZE(data))
                   : NULL;
    if (to != NULL) {
        memcpy(to, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
        return 0;
    }
    PyObject *answer = PyObject_CallMethodObjArgs(memory, name_write, address, data, NULL);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* As `GuestMemory.give`: 1, or 0 where the allocator failed, or -1 with an exception. */
static int give(HostCall *self, PyObject *memory, PyObject *data, uint64_t at, uint64_t size_at) {
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

static int offer(HostCall *self, PyObject *data, uint64_t at, uint64_t size_at) {
    PyObject *answer = PyObject_CallMethod(self->memory, "offer", "OKK", data,
                                           (unsigned long long)at, (unsigned long long)size_at);
    int status = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return status;
}

/* Writes the outputs: 1, or 0 where the allocator failed, or -1 with an exception. */
static int encode(HostCall *self, PyObject *memory, const uint64_t *args, PyObject *const *results) {
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

#endif
