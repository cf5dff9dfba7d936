/* The bytes behind an anywasm.core.memory.Memory, where they are cached. */

#ifndef ANYWASM_MEMORY_H
#define ANYWASM_MEMORY_H

#include "_slots.h"

static PyTypeObject *memory_type;
static struct {
    Py_ssize_t size, view;
} memory_at;

/* The cached bytes at an address, or NULL (with no exception) when they must be looked for. */
static inline char *reach_at(PyObject *memory, long long at, Py_ssize_t width) {
    /* Never above the view's length; -1 when the view is not to be used. */
    PyObject *limit = slot_at(memory, memory_at.size);
    long long size = PyLong_AsLongLong(limit);
    if (at < 0 || width < 0 || at > size - width)
        return NULL;
    return (char *)PyMemoryView_GET_BUFFER(slot_at(memory, memory_at.view))->buf + at;
}

static inline char *reach(PyObject *memory, PyObject *address, Py_ssize_t width) {
    int overflow = 0;
    long long at = PyLong_Check(address) ? PyLong_AsLongLongAndOverflow(address, &overflow) : -1;
    return overflow ? NULL : reach_at(memory, at, width);
}

static int memory_find(void) {
    PyObject *module = PyImport_ImportModule("anywasm.core.memory");
    if (module == NULL)
        return -1;
    PyObject *cls = PyObject_GetAttrString(module, "Memory");
    Py_DECREF(module);
    if (cls == NULL)
        return -1;
    memory_type = (PyTypeObject *)cls;
    memory_at.size = slot_offset(cls, "_size");
    memory_at.view = memory_at.size < 0 ? -1 : slot_offset(cls, "_view");
    return memory_at.view < 0 ? -1 : 0;
}

#endif
