/* What belongs to a thread, and the GIL on its way into a guest and out of it. It is released while the
 * guest runs, and taken back for host functions; where no other thread could take it, it is kept, which
 * costs half as much as all the rest of a call. */

#ifndef ANYWASM_FASTCALL_THREAD_H
#define ANYWASM_FASTCALL_THREAD_H

#include "../core/_slots.h"

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
    /* What an export gave up with the GIL, KEPT where it kept that, NULL where no guest was entered. */
    PyThreadState *given_up;
    /* What the engines' `measure()` said, 0 before it was asked. */
    uintptr_t wasm3_low, wasmtime_floor;
    int wasmtime_on_fiber;
    uint64_t python_id;  /* an operating system's thread may be several of Python's */
    PyObject *my_token;  /* of the Python thread of that id, borrowed from it */
} ThisThread;

static FAST_THREAD_LOCAL ThisThread this_thread;

#define KEPT ((PyThreadState *)-1)

static PyObject *patient_threads; /* the set of anywasm.core.threads */

/* Whether no other thread could take the GIL, but for those that wait patiently. Whatever runs Python
 * has a state: a thread that Python started from before its start to its end, another from when it
 * first asked for the GIL. */
static inline int is_alone(PyThreadState *mine) {
    Py_ssize_t patient = PySet_GET_SIZE(patient_threads), others = 0;
    for (PyThreadState *other = mine->next; other != NULL && others <= patient; other = other->next)
        others++;
    for (PyThreadState *other = mine->prev; other != NULL && others <= patient; other = other->prev)
        others++;
    return others == patient &&
           PyInterpreterState_Next(PyInterpreterState_Head()) == NULL;
}

static inline PyThreadState *give_up(void) {
    return is_alone(PyThreadState_Get()) ? KEPT : PyEval_SaveThread();
}

static inline void take_back(PyThreadState *given_up) {
    if (given_up != KEPT)
        PyEval_RestoreThread(given_up);
}

/* Around a guest: `guest_left` takes what `guest_entered` returned. Python code that runs while the
 * guest is interrupted may enter guests, too. */
static inline PyThreadState *guest_entered(ThisThread *thread) {
    PyThreadState *outer = thread->given_up;
    thread->given_up = give_up();
    return outer;
}

static inline void guest_left(ThisThread *thread, PyThreadState *outer) {
    take_back(thread->given_up);
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
        take_back(entered.mine);
    } else {
        entered.state = PyGILState_Ensure();
    }
    return entered;
}

static inline void host_left(ThisThread *thread, HostThread entered) {
    if (entered.mine != NULL)
        thread->given_up = give_up(); /* the host function may have started a thread */
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

static int thread_setup(void) {
    patient_threads = import_from("anywasm.core.threads", "patient");
    if (patient_threads != NULL && !PySet_Check(patient_threads)) {
        PyErr_SetString(PyExc_TypeError, "anywasm.core.threads.patient is no set");
        return -1;
    }
    return patient_threads == NULL ? -1 : 0;
}

#endif
