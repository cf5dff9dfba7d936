/* Which host functions have an equal in C. */

#ifndef ANYWASM_ACCELERATED_H
#define ANYWASM_ACCELERATED_H

#include "_buffers.h"
#include "_effective.h"
#include "_maps.h"
#include "_properties.h"
#include "_services.h"

/* Finds what they use, when the first guest is made; 0, or -1 with an exception. */
static int find_accelerated(void) {
    static int found;
    if (found)
        return 0;
    if (find_maps() < 0 || find_stream() < 0 || find_properties() < 0 || find_services() < 0 ||
        find_buffers() < 0 || find_effective() < 0)
        return -1;
    found = 1;
    return 0;
}

/* The host function in C where there is one, with the Python one behind it; else the latter. */
static PyObject *accelerated(PyObject *Py_UNUSED(module), PyObject *args) {
    PyMethodDef *const tables[] = {
        map_functions, property_functions, service_functions, buffer_functions, effective_functions,
    };
    const char *name;
    PyObject *python;
    if (!PyArg_ParseTuple(args, "sO:accelerated", &name, &python) || find_accelerated() < 0)
        return NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (PyMethodDef *function = tables[i]; function->ml_name != NULL; function++)
            if (strcmp(function->ml_name, name) == 0)
                return PyCFunction_New(function, python);
    Py_INCREF(python);
    return python;
}

#endif
