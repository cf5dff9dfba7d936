/* The hot paths of anywasm.engines in C: optional, and equal to the Python that they stand in for.
 *
 * Public C API of CPython 3.10 and later only. All state is guarded by the GIL, which a build of
 * Python without one switches on for modules such as this. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_fastcall_call.h"
#include "_fastcall_gate.h"
#include "_fastcall_memory.h"
#include "_fastcall_ticker.h"
#include "_fastcall_values.h"
#include "_fastcall_wasm3.h"
#include "_fastcall_wasmer.h"
#include "_fastcall_wasmtime.h"

static PyMethodDef functions[] = {
    {"use_wasmtime", use_wasmtime, METH_VARARGS, "Take the addresses of wasmtime's functions."},
    {"use_wasm3", use_wasm3, METH_VARARGS, "Take the addresses of wasm3's functions."},
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

static int add_address(PyObject *module, const char *name, void *address) {
    PyObject *number = PyLong_FromVoidPtr(address);
    int status = number == NULL ? -1 : PyModule_AddObjectRef(module, name, number);
    Py_XDECREF(number);
    return status;
}

static int fill(PyObject *module) {
    PyTypeObject *types[] = {
        &Lock_type,         &Export_type,      &Host_type,         &Wasm3Export_type,
        &Wasm3Machine_type, &WasmerExport_type, &WasmerHost_type,  &WasmtimeExport_type,
        &Ticker_type,       &Promises_type,    &Suspending_type,   &Promising_type,
        &Call_type,
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return -1;
    if (add_address(module, "wasm3_callback", (void *)(uintptr_t)wasm3_callback) < 0)
        return -1;
    if (add_address(module, "suspending_callback", (void *)(uintptr_t)suspending_callback) < 0 ||
        add_address(module, "wasmtime_epoch", (void *)(uintptr_t)wasmtime_epoch) < 0)
        return -1;
    return add_address(module, "wasmtime_callback", (void *)(uintptr_t)wasmtime_callback);
}

PyMODINIT_FUNC PyInit__fastcall(void) {
    if (thread_setup() < 0 || gate_setup() < 0 || values_setup() < 0 || memory_setup() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && fill(module) < 0)
        Py_CLEAR(module);
    return module;
}
