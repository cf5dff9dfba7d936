/* What belongs to a thread, and the GIL on its way into a guest and out of it. It is released while the
 * guest runs, and taken back for host functions. */

#ifndef ANYWASM_FASTCALL_THREAD_H
#define ANYWASM_FASTCALL_THREAD_H

#include <Python.h>

/* What a call mostly does not come to is kept out of its way. */
#define RARE __attribute__((noinline, cold))

/* In a shared object a thread's variables are looked up by a call, several in each call of a guest.
 * glibc has room for a few of those of libraries that are loaded late where all can see them; other
 * libraries would refuse to load this one. */
#if defined(__GLIBC__) && defined(__ELF__)
#define FAST_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define FAST_THREAD_LOCAL _Thread_local
#endif

/* All in one place, which is looked up once, and whose address tells the running thread from others. */
typedef struct {
    /* What an export gave up with the GIL, NULL where the GIL went in other ways. */
    PyThreadState *given_up;
    /* What the engines' `measure()` said, 0 before it was asked. */
    uintptr_t wasm3_low, wasmtime_floor;
    int wasmtime_on_fiber;
    uint64_t python_id;  /* an operating system's thread may be several of Python's */
    PyObject *my_token;  /* of the Python thread of that id, borrowed from it */
} ThisThread;

static FAST_THREAD_LOCAL ThisThread this_thread;

/* Around a guest: `guest_left` takes what `guest_entered` returned. Python code that runs while the
 * guest is interrupted may enter guests, too. */
static inline PyThreadState *guest_entered(ThisThread *thread) {
    PyThreadState *outer = thread->given_up;
    thread->given_up = PyEval_SaveThread();
    return outer;
}

static inline void guest_left(ThisThread *thread, PyThreadState *outer) {
    PyEval_RestoreThread(thread->given_up);
    thread->given_up = outer;
}

/* Around a host function: how its thread came to have the GIL. */
typedef struct {
    PyThreadState *mine;
    PyGILState_STATE state;
} HostThread;

static inline HostThread host_entered(ThisThread *thread) {
    HostThread entered = {thread->given_up, PyGILState_LOCKED};
    if (entered.mine != NULL) {
        thread->given_up = NULL;
        PyEval_RestoreThread(entered.mine);
    } else {
        entered.state = PyGILState_Ensure();
    }
    return entered;
}

static inline void host_left(ThisThread *thread, HostThread entered) {
    if (entered.mine != NULL)
        thread->given_up = PyEval_SaveThread();
    else
        PyGILState_Release(entered.state);
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
