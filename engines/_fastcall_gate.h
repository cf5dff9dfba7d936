/* The gate of an instance, as C passes it: see anywasm.core.gate.CallGate, whose state is read and
 * written in place, through the offsets that its own slot descriptors state. */

#ifndef ANYWASM_FASTCALL_GATE_H
#define ANYWASM_FASTCALL_GATE_H

#include "../core/_clock.h"
#include "../core/_slots.h"
#include "_fastcall_thread.h"
#include <structmember.h>

static PyTypeObject *gate_type;
static PyObject *gate_thread; /* of anywasm.core.gate: its `token` stands for the running thread */
static struct {
    Py_ssize_t lock, alert, closed, suspended, home, expires, pending;
} gate_at;

/* --- a lock as threading.RLock is one, but never waiting, and open to C ------------------------ */

typedef struct {
    PyObject_HEAD
    ThisThread *owner; /* all of it is guarded by the GIL */
    size_t depth;
} LockObject;

static inline int lock_acquire(LockObject *lock, ThisThread *thread) {
    if (lock->depth && lock->owner != thread)
        return 0;
    lock->owner = thread;
    lock->depth++;
    return 1;
}

static PyObject *Lock_acquire(PyObject *self, PyObject *blocking) {
    if (blocking != Py_False) {
        PyErr_SetString(PyExc_ValueError, "this lock does not wait: call acquire(False)");
        return NULL;
    }
    return PyBool_FromLong(lock_acquire((LockObject *)self, &this_thread));
}

static PyObject *Lock_is_owned(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    LockObject *lock = (LockObject *)self;
    return PyBool_FromLong(lock->depth && lock->owner == &this_thread);
}

static PyObject *Lock_release(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    LockObject *lock = (LockObject *)self;
    if (!lock->depth || lock->owner != &this_thread) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
        return NULL;
    }
    lock->depth--;
    Py_RETURN_NONE;
}

static PyMethodDef Lock_methods[] = {
    {"acquire", Lock_acquire, METH_O, NULL},
    {"release", Lock_release, METH_NOARGS, NULL},
    {"_is_owned", Lock_is_owned, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Lock_members[] = {
    {"depth", T_PYSSIZET, offsetof(LockObject, depth), READONLY, "How often it is taken."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject Lock_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Lock",
    .tp_doc = "A re-entrant lock that is taken at once or not at all.",
    .tp_basicsize = sizeof(LockObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = Lock_methods,
    .tp_members = Lock_members,
    .tp_new = PyType_GenericNew,
};

/* --- passing the gate -------------------------------------------------------------------------- */

/* Whether that second is some ticks away or more. Every return from a host function asks, and only who
 * is near the end has to read the dearer clock. */
static inline int is_far(double end) {
#ifdef CLOCK_MONOTONIC_COARSE
    return read_clock(CLOCK_MONOTONIC_COARSE) + 5 * COARSE_TICK < end;
#else
    return 0;
#endif
}

/* Whether the running deadline has passed; -1 with an exception where `expires` is no number. */
static int gate_is_overdue(PyObject *gate) {
    PyObject *expires = slot_at(gate, gate_at.expires);
    if (expires == NULL || expires == Py_None)
        return 0;
    double end = PyFloat_AsDouble(expires);
    if (end == -1.0 && PyErr_Occurred())
        return -1;
    if (is_far(end))
        return 0;
    return read_clock(CLOCK_MONOTONIC) >= end; /* time.monotonic reads the same */
}

static inline void gate_leave(PyObject *gate) {
    ((LockObject *)slot_at(gate, gate_at.lock))->depth--;
}

/* Whether the instance is bound to no thread, or to this one. 0 also where that cannot be told
 * cheaply; `check` knows then. */
static int gate_is_home(PyObject *gate, ThisThread *thread) {
    PyObject *home = slot_at(gate, gate_at.home);
    if (home == Py_None)
        return 1;
    uint64_t id = PyThreadState_GetID(PyThreadState_Get());
    if (thread->python_id != id || thread->my_token == NULL) {
        PyObject *token = PyObject_GetAttrString(gate_thread, "token");
        if (token == NULL) {
            PyErr_Clear();
            return 0;
        }
        Py_DECREF(token);
        thread->my_token = token;
        thread->python_id = id;
    }
    return home == thread->my_token;
}

/* Another thread has the instance. */
static RARE int gate_refuse(PyObject *gate) {
    PyObject *answer = PyObject_CallMethod(gate, "refuse", NULL);
    Py_XDECREF(answer);
    return -1;
}

/* What `alert` is about. The lock is taken, and given back when this returns -1. */
static RARE int gate_check(PyObject *gate, ThisThread *thread) {
    if (slot_at(gate, gate_at.closed) == Py_False &&
        slot_at(gate, gate_at.suspended) == Py_False && gate_is_home(gate, thread)) {
        int overdue = gate_is_overdue(gate);
        if (overdue == 0)
            return 0;
    }
    PyObject *answer = PyErr_Occurred() ? NULL : PyObject_CallMethod(gate, "check", NULL);
    if (answer == NULL) {
        gate_leave(gate);
        return -1;
    }
    Py_DECREF(answer);
    return 0;
}

/* Whether `alert` is about a deadline alone, and that is not near: most calls of filters. */
static inline int gate_has_time(PyObject *gate) {
    PyObject *expires = slot_at(gate, gate_at.expires);
    return slot_at(gate, gate_at.home) == Py_None && slot_at(gate, gate_at.closed) == Py_False &&
           slot_at(gate, gate_at.suspended) == Py_False && expires != NULL &&
           PyFloat_CheckExact(expires) && is_far(PyFloat_AS_DOUBLE(expires));
}

/* As a wrapper of anywasm.core.marshal enters: the lock first, then what `alert` is about. Nothing
 * is held when it returns -1, with an exception. */
static inline int gate_enter(PyObject *gate, ThisThread *thread) {
    if (!lock_acquire((LockObject *)slot_at(gate, gate_at.lock), thread))
        return gate_refuse(gate);
    return slot_at(gate, gate_at.alert) == Py_False || gate_has_time(gate) ? 0
                                                                           : gate_check(gate, thread);
}

/* The exception that is set, taken from there. */
static PyObject *take_exception(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}

/* Sets `gate.pending`, and takes the reference. */
static void gate_set_pending(PyObject *gate, PyObject *error) {
    PyObject **pending = (PyObject **)((char *)gate + gate_at.pending), *before = *pending;
    *pending = error;
    Py_XDECREF(before);
}

/* Moves the exception that is set into `gate.pending`. */
static void gate_keep_exception(PyObject *gate) {
    gate_set_pending(gate, take_exception());
}

/* Whether `gate` can be passed from C; an exception says why not. */
static int gate_fits(PyObject *gate) {
    if (!PyObject_TypeCheck(gate, gate_type)) {
        PyErr_Format(PyExc_TypeError, "%R is no CallGate", gate);
        return 0;
    }
    PyObject *lock = slot_at(gate, gate_at.lock);
    if (lock == NULL || !Py_IS_TYPE(lock, &Lock_type)) {
        PyErr_SetString(PyExc_TypeError, "the gate has another lock than _fastcall.Lock");
        return 0;
    }
    return 1;
}

static int gate_setup(void) {
    PyObject *module = PyImport_ImportModule("anywasm.core.gate");
    if (module == NULL)
        return -1;
    PyObject *cls = PyObject_GetAttrString(module, "CallGate");
    gate_thread = PyObject_GetAttrString(module, "_thread");
    Py_DECREF(module);
    if (cls == NULL || gate_thread == NULL)
        return -1;
    gate_type = (PyTypeObject *)cls;
    if ((gate_at.lock = slot_offset(cls, "_lock")) < 0 ||
        (gate_at.alert = slot_offset(cls, "alert")) < 0 ||
        (gate_at.closed = slot_offset(cls, "_closed")) < 0 ||
        (gate_at.suspended = slot_offset(cls, "_suspended")) < 0 ||
        (gate_at.home = slot_offset(cls, "_home")) < 0 ||
        (gate_at.expires = slot_offset(cls, "expires")) < 0 ||
        (gate_at.pending = slot_offset(cls, "pending")) < 0)
        return -1;
    return PyType_Ready(&Lock_type);
}

#endif
