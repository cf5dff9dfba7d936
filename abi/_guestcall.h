/* Entering a guest: what anywasm.abi.guest_call.GuestCall says in Python. The states of the guest,
 * of its contexts and of its instance's gate are read and written in place. */

#ifndef ANYWASM_GUESTCALL_H
#define ANYWASM_GUESTCALL_H

#include "../core/_clock.h"
#include "../core/_slots.h"

static PyTypeObject *guest_type, *context_type, *gate_type;
static PyObject *deadline_error, *plain_set_deadline;
static PyObject *name_limit, *name_broke, *name_after_call, *name_arm, *name_armed_until,
    *name_set_deadline, *name_restore_deadline;
static struct {
    Py_ssize_t effective, entered, expires, phase, woken, deferred;
} guest_at;
static struct {
    Py_ssize_t deadline;
} context_at;
static struct {
    Py_ssize_t alert, closed, home, expires;
} gate_at;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *guest;
    PyObject *instance;
    PyObject *gate; /* the instance's, or NULL where its deadlines are set by its own methods */
    double limit;
    double armed; /* up to when the engine is known to notice deadlines */
    int interruptible;
} GuestCall;

/* What stood in a slot before; takes the reference to the value, and gives one. */
static PyObject *slot_swap(PyObject *object, Py_ssize_t offset, PyObject *value) {
    PyObject **slot = (PyObject **)((char *)object + offset), *before = *slot;
    *slot = value;
    return before;
}

static void slot_set(PyObject *object, Py_ssize_t offset, PyObject *value) {
    PyObject *before = slot_swap(object, offset, value);
    Py_XDECREF(before);
}

/* Now, for a limit of so many seconds that begins now: by the coarse clock where its tick is a
 * hundredth of the limit or less, which then ends so much earlier at most. */
static double begin_limit(double limit) {
#ifdef CLOCK_MONOTONIC_COARSE
    if (limit >= 100 * COARSE_TICK)
        return read_clock(CLOCK_MONOTONIC_COARSE);
#endif
    return read_clock(CLOCK_MONOTONIC);
}

/* --- deadlines ---------------------------------------------------------------------------------- */

/* Has the engine notice deadlines up to that second, which is later than it was last seen to. */
static int arm(GuestCall *self, double end, PyObject *expires) {
    PyObject *armed = PyObject_GetAttr(self->instance, name_armed_until);
    double until = armed == NULL ? -1.0 : PyFloat_AsDouble(armed);
    Py_XDECREF(armed);
    if (armed == NULL || (until == -1.0 && PyErr_Occurred()))
        return -1;
    if (end > until) {
        PyObject *answer = PyObject_CallMethodOneArg(self->instance, name_arm, expires);
        Py_XDECREF(answer);
        return answer == NULL ? -1 : 0; /* how far it reaches is seen next time */
    }
    self->armed = until;
    return 0;
}

/* As `Instance.set_deadline`: what was set before, or NULL with an exception. */
static PyObject *set_deadline(GuestCall *self, PyObject *expires) {
    if (self->gate == NULL)
        return PyObject_CallMethodOneArg(self->instance, name_set_deadline, expires);
    PyObject *outer = slot_at(self->gate, gate_at.expires);
    if (outer == NULL || !(outer == Py_None || PyFloat_CheckExact(outer)))
        return PyObject_CallMethodOneArg(self->instance, name_set_deadline, expires);
    Py_INCREF(outer);
    double end = PyFloat_AS_DOUBLE(expires);
    if (outer != Py_None && end >= PyFloat_AS_DOUBLE(outer))
        return outer;
    if (end > self->armed && arm(self, end, expires) < 0) {
        Py_DECREF(outer);
        return NULL;
    }
    Py_INCREF(expires);
    slot_set(self->gate, gate_at.expires, expires);
    Py_INCREF(Py_True);
    slot_set(self->gate, gate_at.alert, Py_True);
    return outer;
}

/* As `CallGate.set_expires`; takes the reference. -1 with an exception. */
static int restore_deadline(GuestCall *self, PyObject *outer) {
    if (self->gate == NULL) {
        PyObject *answer =
            PyObject_CallMethodOneArg(self->instance, name_restore_deadline, outer);
        Py_DECREF(outer);
        Py_XDECREF(answer);
        return answer == NULL ? -1 : 0;
    }
    int alert = outer != Py_None || slot_at(self->gate, gate_at.home) != Py_None ||
                slot_at(self->gate, gate_at.closed) != Py_False;
    slot_set(self->gate, gate_at.expires, outer);
    PyObject *truth = alert ? Py_True : Py_False;
    Py_INCREF(truth);
    slot_set(self->gate, gate_at.alert, truth);
    return 0;
}

/* --- the call ----------------------------------------------------------------------------------- */

/* Calls the guest under a deadline that ends with the call. */
static PyObject *call_until(GuestCall *self, PyObject *expires, PyObject *function,
                            PyObject *const *args, size_t count) {
    if (!self->interruptible)
        return PyObject_Vectorcall(function, args, count, NULL);
    PyObject *outer = set_deadline(self, expires);
    if (outer == NULL)
        return NULL;
    PyObject *answer = PyObject_Vectorcall(function, args, count, NULL);
    if (answer != NULL) {
        if (restore_deadline(self, outer) < 0)
            Py_CLEAR(answer);
        return answer;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (restore_deadline(self, outer) < 0) {
        Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(traceback);
    } else {
        PyErr_Restore(type, error, traceback);
    }
    return NULL;
}

/* Tells the guest of the exception that is set, which stays set. */
static void tell_broken(GuestCall *self, PyObject *function) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyObject *answer =
        PyObject_CallMethodObjArgs(self->guest, name_broke, error, function, NULL);
    if (answer == NULL) {
        Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(traceback);
        return;
    }
    Py_DECREF(answer);
    PyErr_Restore(type, error, traceback);
}

/* Whether a list or deque of the guest's holds something. */
static int holds(PyObject *guest, Py_ssize_t at) {
    PyObject *jobs = slot_at(guest, at);
    if (jobs != NULL && PyList_CheckExact(jobs))
        return PyList_GET_SIZE(jobs) != 0;
    return jobs != NULL && PyObject_Size(jobs) != 0;
}

/* Does what the call has left to do; 0, or -1 with an exception in the place of the call's. */
static int after_call(GuestCall *self) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *answer = PyObject_CallMethodNoArgs(self->guest, name_after_call);
    if (answer == NULL) {
        Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(traceback);
        return -1;
    }
    Py_DECREF(answer);
    PyErr_Restore(type, error, traceback);
    return 0;
}

static PyObject *enter(GuestCall *self, PyObject *context, PyObject *expires, PyObject *function,
                       PyObject *const *args, size_t count) {
    PyObject *guest = self->guest;
    Py_INCREF(context), Py_INCREF(context), Py_INCREF(expires);
    PyObject *effective = slot_swap(guest, guest_at.effective, context);
    PyObject *entered = slot_swap(guest, guest_at.entered, context);
    PyObject *outer = slot_swap(guest, guest_at.expires, expires);
    PyObject *answer = call_until(self, expires, function, args, count);
    if (answer == NULL)
        tell_broken(self, function);
    int outermost = entered == Py_None;
    slot_set(guest, guest_at.effective, effective);
    slot_set(guest, guest_at.entered, entered);
    slot_set(guest, guest_at.expires, outer);
    if (outermost && (holds(guest, guest_at.woken) || holds(guest, guest_at.deferred)) &&
        after_call(self) < 0)
        Py_CLEAR(answer);
    return answer;
}

/* The limit that the call names, else the guest's own; -1 with an exception. */
static double limit_of(GuestCall *self, PyObject *const *values, PyObject *names) {
    if (names == NULL || PyTuple_GET_SIZE(names) == 0)
        return self->limit;
    int same = PyTuple_GET_SIZE(names) == 1
                   ? PyObject_RichCompareBool(PyTuple_GET_ITEM(names, 0), name_limit, Py_EQ)
                   : 0;
    if (same < 0)
        return -1.0;
    if (!same) {
        PyErr_SetString(PyExc_TypeError, "a guest's call takes no keyword but limit");
        return -1.0;
    }
    return values[0] == Py_None ? self->limit : PyFloat_AsDouble(values[0]);
}

/* The guest's answer to a call for a context, within `limit` seconds, or NULL with an exception. */
static PyObject *guest_call(GuestCall *self, PyObject *context, PyObject *function,
                            PyObject *const *args, size_t count, double limit) {
    PyObject *deadline = slot_at(context, context_at.deadline);
    double least = deadline == NULL ? -1.0 : PyFloat_AsDouble(deadline);
    if (least == -1.0 && PyErr_Occurred())
        return NULL;
    double now = begin_limit(limit), end = now + limit;
    if (end > least)
        end = least;
    if (end <= now) {
        PyErr_SetString(deadline_error, "no time is left for another call of the guest");
        return NULL;
    }
    PyObject *expires = PyFloat_FromDouble(end);
    if (expires == NULL)
        return NULL;
    Py_INCREF(self);
    PyObject *answer = enter(self, context, expires, function, args, count);
    Py_DECREF(expires);
    Py_DECREF(self);
    return answer;
}

static PyObject *GuestCall_call(PyObject *callable, PyObject *const *args, size_t flags,
                                PyObject *names) {
    GuestCall *self = (GuestCall *)callable;
    Py_ssize_t given = PyVectorcall_NARGS(flags);
    if (given < 2 || !PyObject_TypeCheck(args[0], context_type)) {
        PyErr_SetString(PyExc_TypeError, "a guest's call takes a Context and a function");
        return NULL;
    }
    double limit = limit_of(self, args + given, names);
    if (limit == -1.0 && PyErr_Occurred())
        return NULL;
    return guest_call(self, args[0], args[1], args + 2, (size_t)given - 2, limit);
}

/* --- the type ----------------------------------------------------------------------------------- */

/* Has the method of a Python class work on an object that is not its instance, but alike. */
static PyObject *call_unbound(PyObject *cls, const char *method, PyObject *self,
                              PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_ssize_t all = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *function = PyObject_GetAttrString(cls, method), *answer = NULL;
    if (function != NULL && Py_IS_TYPE(function, &PyProperty_Type))
        Py_SETREF(function, PyObject_GetAttrString(function, "fget"));
    PyObject **values = PyMem_New(PyObject *, (size_t)all + 1);
    if (values == NULL)
        PyErr_NoMemory();
    if (values != NULL && function != NULL) {
        values[0] = self;
        for (Py_ssize_t i = 0; i < all; i++)
            values[i + 1] = args[i];
        answer = PyObject_Vectorcall(function, values, (size_t)count + 1, names);
    }
    PyMem_Free(values);
    Py_XDECREF(function);
    return answer;
}

static int find_offsets(void) {
    const Place places[] = {
        {&guest_at.effective, guest_type, "effective"},
        {&guest_at.entered, guest_type, "entered"},
        {&guest_at.expires, guest_type, "expires"},
        {&guest_at.phase, guest_type, "phase"},
        {&guest_at.woken, guest_type, "woken"},
        {&guest_at.deferred, guest_type, "deferred"},
        {&context_at.deadline, context_type, "deadline"},
        {&gate_at.alert, gate_type, "alert"},
        {&gate_at.closed, gate_type, "_closed"},
        {&gate_at.home, gate_type, "_home"},
        {&gate_at.expires, gate_type, "expires"},
        {NULL, NULL, NULL},
    };
    return find_places(places);
}

/* Finds the classes whose slots are used here, when the first guest is made: their modules import
 * this one. 0, or -1 with an exception. */
static int find_guest(void) {
    static int found;
    if (found)
        return 0;
    PyObject *instance = import_from("anywasm.core.instance", "Instance");
    guest_type = (PyTypeObject *)import_from("anywasm.abi.guest", "Guest");
    context_type = (PyTypeObject *)import_from("anywasm.abi.context", "Context");
    gate_type = (PyTypeObject *)import_from("anywasm.core.gate", "CallGate");
    deadline_error = import_from("anywasm.core.errors", "DeadlineExceededError");
    if (instance == NULL || guest_type == NULL || context_type == NULL || gate_type == NULL ||
        deadline_error == NULL)
        return -1;
    plain_set_deadline = PyObject_GetAttr(instance, name_set_deadline);
    Py_DECREF(instance);
    if (plain_set_deadline == NULL || find_offsets() < 0)
        return -1;
    found = 1;
    return 0;
}

/* The gate of an instance whose deadlines may be set past its methods, else NULL; -1 on errors. */
static int find_gate(PyObject *instance, PyObject **gate) {
    PyObject *setter = PyObject_GetAttr((PyObject *)Py_TYPE(instance), name_set_deadline);
    if (setter == NULL)
        return -1;
    Py_DECREF(setter);
    if (setter != plain_set_deadline)
        return 0;
    PyObject *found = PyObject_GetAttrString(instance, "_gate");
    if (found == NULL)
        return -1;
    if (Py_IS_TYPE(found, gate_type))
        *gate = found;
    else
        Py_DECREF(found);
    return 0;
}

static PyObject *GuestCall_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *guest, *instance, *gate = NULL;
    double limit;
    int interruptible;
    if (find_guest() < 0)
        return NULL;
    if (!PyArg_ParseTuple(args, "O!Odp", guest_type, &guest, &instance, &limit, &interruptible) ||
        find_gate(instance, &gate) < 0)
        return NULL;
    GuestCall *self = (GuestCall *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(gate);
        return NULL;
    }
    Py_INCREF(guest), Py_INCREF(instance);
    self->vectorcall = GuestCall_call;
    self->guest = guest;
    self->instance = instance;
    self->gate = gate;
    self->limit = limit;
    self->interruptible = interruptible;
    return (PyObject *)self;
}

static int GuestCall_traverse(PyObject *object, visitproc visit, void *arg) {
    GuestCall *self = (GuestCall *)object;
    Py_VISIT(self->guest);
    Py_VISIT(self->instance);
    Py_VISIT(self->gate);
    return 0;
}

static void GuestCall_dealloc(PyObject *object) {
    GuestCall *self = (GuestCall *)object;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->guest);
    Py_XDECREF(self->instance);
    Py_XDECREF(self->gate);
    Py_TYPE(self)->tp_free(self);
}

/* It has no tp_clear: like a tuple, it is part of a cycle only together with what has. */
static PyTypeObject GuestCall_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.abi._hostcall.GuestCall",
    .tp_doc = "Calls into one guest.",
    .tp_basicsize = sizeof(GuestCall),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(GuestCall, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = GuestCall_new,
    .tp_traverse = GuestCall_traverse,
    .tp_dealloc = GuestCall_dealloc,
};

#endif
