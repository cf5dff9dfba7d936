/* How streams begin and end in a guest: what anywasm.abi.contexts.Contexts says in Python. Contexts
 * of other kinds, and streams with a deadline of their own, are left to that class. */

#ifndef ANYWASM_CONTEXTS_H
#define ANYWASM_CONTEXTS_H

#include "_guestcall.h"

static PyTypeObject *stream_type, *root_type;
static PyObject *no_direction, *no_pieces;
static struct {
    Py_ssize_t guest, id, plugin, maps, buffers, deadline, root, chain, info, local_response,
        continued, closed, injected, responding, override_host, acted, driver;
} stream_at;
static struct {
    Py_ssize_t failed, call, callbacks;
} ending_guest_at;
static Py_ssize_t count_maps, count_buffers;

typedef struct {
    PyObject_HEAD
    PyObject *guest;
    GuestCall *call;
    PyObject *living, *ending;                          /* dicts */
    PyObject *on_create, *on_done, *on_log, *on_delete; /* the guest's callbacks, or None */
    long long last_id;
} Contexts;

static PyObject *contexts_in_python(PyObject *self, const char *method, PyObject *const *args,
                                    Py_ssize_t count, PyObject *names) {
    static PyObject *cls;
    if (cls == NULL && (cls = import_from("anywasm.abi.contexts", "Contexts")) == NULL)
        return NULL;
    return call_unbound(cls, method, self, args, count, names);
}

/* --- the beginning ------------------------------------------------------------------------------ */

/* A list of so many None, or NULL. */
static PyObject *nothings(Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        Py_INCREF(Py_None);
        PyList_SET_ITEM(list, i, Py_None);
    }
    return list;
}

static void stream_set(PyObject *stream, Py_ssize_t at, PyObject *value) {
    Py_INCREF(value);
    *(PyObject **)((char *)stream + at) = value;
}

/* As `StreamContext`. */
static PyObject *make_stream(Contexts *self, PyObject *id, PyObject *root, PyObject *const *rest) {
    PyObject *plugin = slot_at(root, stream_at.plugin);
    PyObject *maps = nothings(count_maps), *buffers = nothings(count_buffers);
    PyObject *stream = plugin == NULL || maps == NULL || buffers == NULL
                           ? NULL
                           : stream_type->tp_alloc(stream_type, 0);
    if (stream != NULL) {
        stream_set(stream, stream_at.guest, self->guest);
        stream_set(stream, stream_at.id, id);
        stream_set(stream, stream_at.plugin, plugin);
        stream_set(stream, stream_at.maps, maps);
        stream_set(stream, stream_at.buffers, buffers);
        stream_set(stream, stream_at.root, root);
        stream_set(stream, stream_at.deadline, rest[0]);
        stream_set(stream, stream_at.chain, rest[1]);
        stream_set(stream, stream_at.info, rest[2]);
        stream_set(stream, stream_at.local_response, Py_None);
        stream_set(stream, stream_at.continued, no_direction);
        stream_set(stream, stream_at.closed, no_direction);
        stream_set(stream, stream_at.injected, no_pieces);
        stream_set(stream, stream_at.responding, Py_False);
        stream_set(stream, stream_at.override_host, Py_None);
        stream_set(stream, stream_at.acted, Py_False);
        stream_set(stream, stream_at.driver, rest[3]);
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_AttributeError, "plugin");
    }
    Py_XDECREF(maps);
    Py_XDECREF(buffers);
    return stream;
}

/* Tells the guest of a stream that lives already; 0, or -1 when it does not live any more. */
static int announce(Contexts *self, PyObject *stream, PyObject *id, PyObject *root) {
    if (self->on_create == Py_None)
        return 0;
    PyObject *numbers[] = {id, slot_at(root, stream_at.id)};
    PyObject *answer = guest_call(self->call, stream, self->on_create, numbers, 2, self->call->limit);
    if (answer != NULL) {
        Py_DECREF(answer);
        return 0;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (PyDict_DelItem(self->living, id) < 0) /* nobody will end what the guest does not know */
        PyErr_Clear();
    PyErr_Restore(type, error, traceback);
    return -1;
}

static PyObject *Contexts_create_stream(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                        PyObject *names) {
    Contexts *self = (Contexts *)object;
    if (count != 5 || names != NULL || !Py_IS_TYPE(args[0], root_type) ||
        !PyFloat_CheckExact(args[1]) || args[3] == Py_None)
        return contexts_in_python(object, "create_stream", args, count, names);
    PyObject *id = PyLong_FromLongLong(++self->last_id);
    PyObject *stream = id == NULL ? NULL : make_stream(self, id, args[0], args + 1);
    if (stream != NULL && (PyDict_SetItem(self->living, id, stream) < 0 ||
                           announce(self, stream, id, args[0]) < 0))
        Py_CLEAR(stream);
    Py_XDECREF(id);
    return stream;
}

/* --- the end ------------------------------------------------------------------------------------ */

/* Whether a context is a stream without a deadline of its own. */
static int is_endless(PyObject *context) {
    if (!Py_IS_TYPE(context, stream_type))
        return 0;
    PyObject *deadline = slot_at(context, stream_at.deadline);
    return deadline != NULL && PyFloat_CheckExact(deadline) &&
           PyFloat_AS_DOUBLE(deadline) == Py_HUGE_VAL;
}

static int has_failed(Contexts *self) {
    return slot_at(self->guest, ending_guest_at.failed) != Py_None;
}

/* As `forget`, for a stream; keeps the exception that is set. */
static void forget_stream(Contexts *self, PyObject *id) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (PyDict_DelItem(self->living, id) < 0)
        PyErr_Clear();
    if (PyDict_DelItem(self->ending, id) < 0)
        PyErr_Clear();
    PyErr_Restore(type, error, traceback);
}

/* What a callback about a context answers; NULL with an exception. None where it is not called. */
static PyObject *tell(Contexts *self, PyObject *stream, PyObject *callback, PyObject *id) {
    if (callback == Py_None || has_failed(self)) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    return guest_call(self->call, stream, callback, &id, 1, self->call->limit);
}

static int finish_stream(Contexts *self, PyObject *stream, PyObject *id) {
    PyObject *found = PyDict_GetItemWithError(self->ending, id); /* borrowed */
    if (found != stream)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *answer = NULL;
    if (PyDict_SetItem(self->ending, id, Py_None) == 0)
        answer = tell(self, stream, self->on_log, id);
    if (answer != NULL)
        Py_SETREF(answer, tell(self, stream, self->on_delete, id));
    forget_stream(self, id);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

static int end_stream(Contexts *self, PyObject *stream, PyObject *id) {
    PyObject *found = PyDict_GetItemWithError(self->living, id); /* borrowed */
    if (found != stream)
        return PyErr_Occurred() ? -1 : 0;
    int ends = PyDict_Contains(self->ending, id);
    if (ends || PyDict_SetItem(self->ending, id, stream) < 0)
        return ends > 0 ? 0 : -1;
    int asked = self->on_done != Py_None && !has_failed(self);
    PyObject *answer = tell(self, stream, self->on_done, id);
    int done = answer == NULL ? -1 : asked ? PyObject_IsTrue(answer) : 1;
    Py_XDECREF(answer);
    if (done < 0)
        forget_stream(self, id);
    return done > 0 ? finish_stream(self, stream, id) : done;
}

/* Does the work with a stream, which the caller keeps alive, as all arguments. */
static int work_on(PyObject *self, PyObject *context,
                   int (*work)(Contexts *, PyObject *, PyObject *)) {
    PyObject *id = slot_at(context, stream_at.id);
    Py_INCREF(id);
    int status = work((Contexts *)self, context, id);
    Py_DECREF(id);
    return status;
}

static PyObject *status_answer(int status) {
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *Contexts_end(PyObject *self, PyObject *context) {
    if (!is_endless(context))
        return contexts_in_python(self, "end", &context, 1, NULL);
    int status = work_on(self, context, end_stream);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    Py_INCREF(Py_None);
    slot_set(context, stream_at.driver, Py_None);
    PyErr_Restore(type, error, traceback);
    return status_answer(status);
}

static PyObject *Contexts_finish(PyObject *self, PyObject *context) {
    return is_endless(context) ? status_answer(work_on(self, context, finish_stream))
                               : contexts_in_python(self, "finish", &context, 1, NULL);
}

/* --- the type ----------------------------------------------------------------------------------- */

static int find_stream(void) {
    static int found;
    if (found)
        return 0;
    stream_type = (PyTypeObject *)import_from("anywasm.abi.context", "StreamContext");
    root_type = (PyTypeObject *)import_from("anywasm.abi.context", "RootContext");
    no_direction = import_from("anywasm.abi.context", "NO_DIRECTION");
    no_pieces = PyTuple_New(0);
    PyObject *maps = import_from("anywasm.abi.enums", "MapType");
    PyObject *buffers = import_from("anywasm.abi.enums", "BufferType");
    count_maps = maps == NULL ? -1 : PyObject_Size(maps);
    count_buffers = buffers == NULL ? -1 : PyObject_Size(buffers);
    Py_XDECREF(maps);
    Py_XDECREF(buffers);
    if (stream_type == NULL || root_type == NULL || no_direction == NULL || no_pieces == NULL ||
        count_maps < 0 || count_buffers < 0)
        return -1;
    const Place places[] = {
        {&stream_at.guest, stream_type, "guest"},
        {&stream_at.id, stream_type, "id"},
        {&stream_at.plugin, stream_type, "plugin"},
        {&stream_at.maps, stream_type, "maps"},
        {&stream_at.buffers, stream_type, "buffers"},
        {&stream_at.deadline, stream_type, "deadline"},
        {&stream_at.root, stream_type, "_root"},
        {&stream_at.chain, stream_type, "_chain"},
        {&stream_at.info, stream_type, "info"},
        {&stream_at.local_response, stream_type, "local_response"},
        {&stream_at.continued, stream_type, "continued"},
        {&stream_at.closed, stream_type, "closed"},
        {&stream_at.injected, stream_type, "injected"},
        {&stream_at.responding, stream_type, "responding"},
        {&stream_at.override_host, stream_type, "override_host"},
        {&stream_at.acted, stream_type, "acted"},
        {&stream_at.driver, stream_type, "driver"},
        {&ending_guest_at.failed, guest_type, "failed"},
        {&ending_guest_at.call, guest_type, "call"},
        {&ending_guest_at.callbacks, guest_type, "callbacks"},
        {NULL, NULL, NULL},
    };
    if (find_places(places) < 0)
        return -1;
    found = 1;
    return 0;
}

static int find_callbacks(Contexts *self) {
    struct {
        PyObject **to;
        const char *name;
    } callbacks[] = {
        {&self->on_create, "on_context_create"},
        {&self->on_done, "on_done"},
        {&self->on_log, "on_log"},
        {&self->on_delete, "on_delete"},
    };
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        PyObject *all = slot_at(self->guest, ending_guest_at.callbacks);
        *callbacks[i].to = all == NULL ? NULL : PyObject_GetAttrString(all, callbacks[i].name);
        if (*callbacks[i].to == NULL) {
            if (all == NULL)
                PyErr_SetString(PyExc_AttributeError, "callbacks");
            return -1;
        }
    }
    return 0;
}

static PyObject *Contexts_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *guest;
    if (find_guest() < 0 || find_stream() < 0 || !PyArg_ParseTuple(args, "O!", guest_type, &guest))
        return NULL;
    PyObject *call = slot_at(guest, ending_guest_at.call);
    if (call == NULL || !Py_IS_TYPE(call, &GuestCall_type)) {
        PyErr_SetString(PyExc_TypeError, "the guest has another call than GuestCall");
        return NULL;
    }
    Contexts *self = (Contexts *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(guest), Py_INCREF(call);
    self->guest = guest;
    self->call = (GuestCall *)call;
    self->living = PyDict_New();
    self->ending = PyDict_New();
    if (self->living == NULL || self->ending == NULL || find_callbacks(self) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int Contexts_traverse(PyObject *object, visitproc visit, void *arg) {
    Contexts *self = (Contexts *)object;
    Py_VISIT(self->guest);
    Py_VISIT(self->call);
    Py_VISIT(self->living);
    Py_VISIT(self->ending);
    Py_VISIT(self->on_create);
    Py_VISIT(self->on_done);
    Py_VISIT(self->on_log);
    Py_VISIT(self->on_delete);
    return 0;
}

static void Contexts_dealloc(PyObject *object) {
    Contexts *self = (Contexts *)object;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->guest);
    Py_XDECREF(self->call);
    Py_XDECREF(self->living);
    Py_XDECREF(self->ending);
    Py_XDECREF(self->on_create);
    Py_XDECREF(self->on_done);
    Py_XDECREF(self->on_log);
    Py_XDECREF(self->on_delete);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef Contexts_methods[] = {
    {"create_stream", (PyCFunction)(void (*)(void))Contexts_create_stream,
     METH_FASTCALL | METH_KEYWORDS, NULL},
    {"end", Contexts_end, METH_O, NULL},
    {"finish", Contexts_finish, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef Contexts_members[] = {
    {"guest", T_OBJECT_EX, offsetof(Contexts, guest), READONLY, NULL},
    {"living", T_OBJECT_EX, offsetof(Contexts, living), READONLY, NULL},
    {"ending", T_OBJECT_EX, offsetof(Contexts, ending), READONLY, NULL},
    {"last_id", T_LONGLONG, offsetof(Contexts, last_id), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* Without a tp_clear, as GuestCall: the guest's own breaks the cycle. */
static PyTypeObject Contexts_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.abi._hostcall.Contexts",
    .tp_doc = "See anywasm.abi.contexts.Contexts.",
    .tp_basicsize = sizeof(Contexts),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_methods = Contexts_methods,
    .tp_members = Contexts_members,
    .tp_new = Contexts_new,
    .tp_traverse = Contexts_traverse,
    .tp_dealloc = Contexts_dealloc,
};

#endif
