/* The GIL on the way into a guest and out of it. It is released while the guest runs, and taken back
 * for host functions. */

#ifndef ANYWASM_FASTCALL_THREAD_H
#define ANYWASM_FASTCALL_THREAD_H

#include <Python.h>

/* The state that an export gave up with the GIL, NULL where the GIL went in other ways. */
static _Thread_local PyThreadState *given_up;

/* Around a guest: `guest_left` takes what `guest_entered` returned. Python code that runs while the
 * guest is interrupted may enter guests, too. */
static inline PyThreadState *guest_entered(void) {
    PyThreadState *outer = given_up;
    given_up = PyEval_SaveThread();
    return outer;
}

static inline void guest_left(PyThreadState *outer) {
    PyEval_RestoreThread(given_up);
    given_up = outer;
}

/* Around a host function: how its thread came to have the GIL. */
typedef struct {
    PyThreadState *mine;
    PyGILState_STATE state;
} HostThread;

static inline HostThread host_entered(void) {
    HostThread thread = {given_up, PyGILState_LOCKED};
    if (thread.mine != NULL) {
        given_up = NULL;
        PyEval_RestoreThread(thread.mine);
    } else {
        thread.state = PyGILState_Ensure();
    }
    return thread;
}

static inline void host_left(HostThread thread) {
    if (thread.mine != NULL)
        given_up = PyEval_SaveThread();
    else
        PyGILState_Release(thread.state);
}

/* What a thread asks Python for once: 0 where that raised. */
static uintptr_t ask_address(PyObject *measure) {
    PyObject *answer = PyObject_CallNoArgs(measure);
    if (answer == NULL)
        return 0;
    unsigned long long address = PyLong_AsUnsignedLongLong(answer);
    Py_DECREF(answer);
    return PyErr_Occurred() ? 0 : (uintptr_t)address;
}

#endif
