/* Host functions in C that take a guest's values as they are, without an object for each. */

#ifndef ANYWASM_BITS_H
#define ANYWASM_BITS_H

#include <Python.h>
#include <stdint.h>

/* What a type whose instances are such functions has in its dictionary, and the capsule's name. */
#define BITS_ATTRIBUTE "__call_bits__"
#define BITS_CAPSULE "anywasm.core.call_bits"

/* Calls it with as many values, unsigned, of i32 or i64. The answer, or NULL with an exception. */
typedef PyObject *(*CallBits)(PyObject *function, const uint64_t *values, Py_ssize_t count);

/* A callable's, or NULL where it has none. */
static inline CallBits bits_of(PyObject *callable) {
    PyObject *types = Py_TYPE(callable)->tp_dict;
    PyObject *capsule = types == NULL ? NULL : PyDict_GetItemString(types, BITS_ATTRIBUTE);
    if (capsule == NULL || !PyCapsule_IsValid(capsule, BITS_CAPSULE))
        return NULL;
    return (CallBits)(uintptr_t)PyCapsule_GetPointer(capsule, BITS_CAPSULE);
}

/* Has a type that is ready offer it; 0, or -1 with an exception. */
static inline int bits_offer(PyTypeObject *type, CallBits call) {
    PyObject *capsule = PyCapsule_New((void *)(uintptr_t)call, BITS_CAPSULE, NULL);
    int status = capsule == NULL ? -1 : PyDict_SetItemString(type->tp_dict, BITS_ATTRIBUTE, capsule);
    Py_XDECREF(capsule);
    return status;
}

#endif
