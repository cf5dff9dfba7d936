/* The accesses of anywasm.core.memory.Memory that are in bounds and of plain numbers and bytes. All
 * others are handed to the methods of Memory, which look again, and refuse in their own words. */

#ifndef ANYWASM_FASTCALL_MEMORY_H
#define ANYWASM_FASTCALL_MEMORY_H

#include "../core/_memory.h"
#include <math.h>
#include <string.h>

static PyObject *no_size; /* -1 */

/* As `Memory.invalidate`. */
static void memory_invalidate(PyObject *memory) {
    PyObject **size = (PyObject **)((char *)memory + memory_at.size), *before = *size;
    Py_INCREF(no_size);
    *size = no_size;
    Py_XDECREF(before);
}

/* Calls the method of Memory of that name. */
static PyObject *defer(const char *method, PyObject *self, PyObject *const *args, Py_ssize_t given,
                       PyObject *names) {
    Py_ssize_t total = given + (names ? PyTuple_GET_SIZE(names) : 0);
    PyObject **all = PyMem_New(PyObject *, total + 1), *answer = NULL;
    if (all == NULL)
        return PyErr_NoMemory();
    all[0] = self;
    for (Py_ssize_t i = 0; i < total; i++)
        all[i + 1] = args[i];
    PyObject *function = PyObject_GetAttrString((PyObject *)memory_type, method);
    if (function != NULL) {
        answer = PyObject_Vectorcall(function, all, given + 1, names);
        Py_DECREF(function);
    }
    PyMem_Free(all);
    return answer;
}

#define METHOD(NAME)                                                                                \
    static PyObject *memory_##NAME(PyObject *self, PyObject *const *args, Py_ssize_t given,         \
                                   PyObject *names)
#define DEFER(NAME) return defer(#NAME, self, args, given, names)

METHOD(read) {
    if (given == 2 && names == NULL && PyLong_Check(args[1])) {
        int overflow;
        long long size = PyLong_AsLongLongAndOverflow(args[1], &overflow);
        char *from = overflow ? NULL : reach(self, args[0], (Py_ssize_t)size);
        if (from != NULL)
            return PyBytes_FromStringAndSize(from, (Py_ssize_t)size);
    }
    DEFER(read);
}

METHOD(write) {
    if (given == 2 && names == NULL) {
        PyObject *data = args[1];
        const char *from = NULL;
        Py_ssize_t size = 0;
        if (PyBytes_Check(data)) {
            from = PyBytes_AS_STRING(data);
            size = PyBytes_GET_SIZE(data);
        } else if (PyByteArray_Check(data)) {
            from = PyByteArray_AS_STRING(data);
            size = PyByteArray_GET_SIZE(data);
        }
        char *to = from == NULL ? NULL : reach(self, args[0], size);
        if (to != NULL) {
            memcpy(to, from, (size_t)size);
            Py_RETURN_NONE;
        }
    }
    DEFER(write);
}

#define ACCESS(KIND, CTYPE, TO_PYTHON, FROM_PYTHON)                                                 \
    METHOD(read_##KIND) {                                                                           \
        char *from = given == 1 && names == NULL ? reach(self, args[0], sizeof(CTYPE)) : NULL;      \
        if (from == NULL)                                                                           \
            DEFER(read_##KIND);                                                                     \
        CTYPE value;                                                                                \
        memcpy(&value, from, sizeof value);                                                         \
        return TO_PYTHON(value);                                                                    \
    }                                                                                               \
    METHOD(write_##KIND) {                                                                          \
        CTYPE value;                                                                                \
        if (given != 2 || names != NULL || !FROM_PYTHON(args[1], &value))                           \
            DEFER(write_##KIND);                                                                    \
        char *to = reach(self, args[0], sizeof value);                                              \
        if (to == NULL)                                                                             \
            DEFER(write_##KIND);                                                                    \
        memcpy(to, &value, sizeof value);                                                           \
        Py_RETURN_NONE;                                                                             \
    }

#define UNSIGNED(KIND, CTYPE, MAX)                                                                  \
    static int as_##KIND(PyObject *number, CTYPE *value) {                                          \
        if (!PyLong_Check(number))                                                                  \
            return 0;                                                                               \
        int overflow;                                                                               \
        long long small = PyLong_AsLongLongAndOverflow(number, &overflow);                          \
        *value = (CTYPE)small;                                                                      \
        return !overflow && small >= 0 && (unsigned long long)small <= MAX;                         \
    }

/* What is above 2^63 is seldom, and left to Memory. */
UNSIGNED(u8, uint8_t, UINT8_MAX)
UNSIGNED(u16, uint16_t, UINT16_MAX)
UNSIGNED(u32, uint32_t, UINT32_MAX)
UNSIGNED(u64, uint64_t, UINT64_MAX)

static int as_f64(PyObject *number, double *value) {
    if (!PyFloat_CheckExact(number))
        return 0;
    *value = PyFloat_AS_DOUBLE(number);
    return 1;
}

static int as_f32(PyObject *number, float *value) {
    double wide;
    if (!as_f64(number, &wide))
        return 0;
    *value = (float)wide;
    return isfinite(*value) || !isfinite(wide);
}

ACCESS(u8, uint8_t, PyLong_FromUnsignedLong, as_u8)
ACCESS(u16, uint16_t, PyLong_FromUnsignedLong, as_u16)
ACCESS(u32, uint32_t, PyLong_FromUnsignedLong, as_u32)
ACCESS(u64, uint64_t, PyLong_FromUnsignedLongLong, as_u64)
ACCESS(f32, float, PyFloat_FromDouble, as_f32)
ACCESS(f64, double, PyFloat_FromDouble, as_f64)

#define ENTRY(NAME)                                                                                 \
    {#NAME, (PyCFunction)(void (*)(void))memory_##NAME, METH_FASTCALL | METH_KEYWORDS,              \
     "See anywasm.core.memory.Memory."}

static PyMethodDef memory_methods[] = {
    ENTRY(read),      ENTRY(write),      ENTRY(read_u8),  ENTRY(write_u8),  ENTRY(read_u16),
    ENTRY(write_u16), ENTRY(read_u32),   ENTRY(write_u32), ENTRY(read_u64), ENTRY(write_u64),
    ENTRY(read_f32),  ENTRY(write_f32),  ENTRY(read_f64), ENTRY(write_f64),
    {NULL, NULL, 0, NULL},
};

static PyObject *hasten_memory(PyObject *Py_UNUSED(module), PyObject *cls) {
    if (!PyType_Check(cls) || !PyType_IsSubtype((PyTypeObject *)cls, memory_type) ||
        (PyTypeObject *)cls == memory_type) {
        PyErr_Format(PyExc_TypeError, "%R is no subclass of Memory", cls);
        return NULL;
    }
    for (PyMethodDef *method = memory_methods; method->ml_name != NULL; method++) {
        PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)cls, method);
        if (descriptor == NULL)
            return NULL;
        int status = PyObject_SetAttrString(cls, method->ml_name, descriptor);
        Py_DECREF(descriptor);
        if (status < 0)
            return NULL;
    }
    Py_INCREF(cls);
    return cls;
}

static int memory_setup(void) {
    no_size = PyLong_FromLong(-1);
    return no_size == NULL ? -1 : memory_find();
}

#endif
