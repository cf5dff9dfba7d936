/* Choosing the context that host functions act on, as anywasm.abi.hostcalls.contexts has it, where that
 * one lives. */

#ifndef ANYWASM_EFFECTIVE_H
#define ANYWASM_EFFECTIVE_H

#include "_contexts.h"
#include "_maps.h"

static Py_ssize_t guest_contexts_at;

static PyObject *set_effective(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *guest = count == 2 && PyObject_TypeCheck(args[0], context_type)
                          ? slot_at(args[0], map_context_at.guest)
                          : NULL;
    PyObject *contexts = known_slot(guest, guest_type, guest_contexts_at);
    if (contexts != NULL && PyObject_TypeCheck(contexts, &Contexts_type) &&
        PyLong_CheckExact(args[1])) {
        PyObject *chosen = PyDict_GetItemWithError(((Contexts *)contexts)->living, args[1]);
        if (chosen != NULL && PyObject_TypeCheck(chosen, context_type)) {
            Py_INCREF(chosen);
            slot_set(guest, guest_at.effective, chosen);
            Py_RETURN_NONE;
        }
        PyErr_Clear();
    }
    return PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

static PyMethodDef effective_functions[] = {
    FUNCTION("proxy_set_effective_context", set_effective),
    {NULL, NULL, 0, NULL},
};

static int find_effective(void) {
    guest_contexts_at = slot_offset((PyObject *)guest_type, "contexts");
    return guest_contexts_at < 0 ? -1 : 0;
}

#endif
