/* The hot paths of anywasm.engines in C: optional, and equal to the Python that they stand in for.
 *
 * Public C API of CPython 3.10 and later only. All state is guarded by the GIL, which a build of
 * Python without one switches on for modules such as this. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_fastcall_calls.h"
#include "_fastcall_gate.h"
#include "_fastcall_memory.h"
#include "_fastcall_ticker.h"
#include "_fastcall_values.h"

static PyObject *use_wasmtime(PyObject *Py_UNUSED(module), PyObject *args) {
    unsigned long long call, trap_new, trap_delete, error_delete;
    PyObject *measure, *too_deep;
    if (!PyArg_ParseTuple(args, "KKKKOO", &call, &trap_new, &trap_delete, &error_delete, &measure,
                          &too_deep))
        return NULL;
    Py_INCREF(measure);
    Py_INCREF(too_deep);
    engine.call = (CallUnchecked)(uintptr_t)call;
    engine.trap_new = (TrapNew)(uintptr_t)trap_new;
    engine.trap_delete = (Delete)(uintptr_t)trap_delete;
    engine.error_delete = (Delete)(uintptr_t)error_delete;
    Py_XSETREF(engine.measure, measure);
    Py_XSETREF(engine.too_deep, too_deep);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"use_wasmtime", use_wasmtime, METH_VARARGS, "Take the addresses of wasmtime's functions."},
    {"hasten_memory", hasten_memory, METH_O, "Give a subclass of Memory its accesses in C."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "anywasm.engines._fastcall",
    .m_doc = "The hot paths of the engines in C.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__fastcall(void) {
    if (gate_setup() < 0 || values_setup() < 0 || memory_setup() < 0 ||
        PyType_Ready(&Export_type) < 0 || PyType_Ready(&Host_type) < 0 ||
        PyType_Ready(&Ticker_type) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    PyObject *address = PyLong_FromVoidPtr((void *)(uintptr_t)host_callback);
    if (address == NULL || PyModule_AddObjectRef(module, "Export", (PyObject *)&Export_type) < 0 ||
        PyModule_AddObjectRef(module, "Host", (PyObject *)&Host_type) < 0 ||
        PyModule_AddObjectRef(module, "Lock", (PyObject *)&Lock_type) < 0 ||
        PyModule_AddObjectRef(module, "Ticker", (PyObject *)&Ticker_type) < 0 ||
        PyModule_AddObjectRef(module, "host_callback", address) < 0)
        Py_CLEAR(module);
    Py_XDECREF(address);
    return module;
}
