/* Exports and host functions over wasmtime's unchecked calls. */

#ifndef ANYWASM_FASTCALL_WASMTIME_H
#define ANYWASM_FASTCALL_WASMTIME_H

#include "_fastcall_export.h"
#include "_fastcall_host.h"

#include <stdbool.h>

/* wasmtime.h's, without its types. */
typedef void (*WasmtimeDelete)(void *owned);
static struct {
    void *(*call)(void *context, const void *func, void *slots, size_t count, void **trap);
    void *(*trap_new)(const char *message, size_t length);
    WasmtimeDelete trap_delete, error_delete;
    void *(*call_async)(void *context, const void *func, const void *args, size_t in, void *results,
                        size_t out, void **trap, void **error);
    bool (*poll)(void *future);
    WasmtimeDelete future_delete;
    void (*set_epoch_deadline)(void *context, uint64_t ticks);
    uintptr_t fiber_room; /* how far below the first host function on a guest's own stack others may run */
    PyObject *measure;  /* () -> the address above which this thread may run host functions */
    PyObject *too_deep; /* () raises what stands against one below it */
} wasmtime;

static const char WASMTIME_END[] = "ended by the host";
/* 64-bit slots for a value. */
#define WASMTIME_STRIDE 2

/* The thread's floor is `measure()`, or what takes its place on a guest's own stack. */
static inline int wasmtime_measured(ThisThread *thread) {
    if (thread->wasmtime_floor)
        return 1;
    thread->wasmtime_floor = thread->wasmtime_on_fiber
                                 ? (uintptr_t)__builtin_frame_address(0) - wasmtime.fiber_room
                                 : ask_address(wasmtime.measure);
    return thread->wasmtime_floor != 0;
}

typedef struct {
    Export export;
    void *context;
    uint64_t func[4]; /* a copy of the wasmtime_func_t */
} WasmtimeExport;

/* Raises what ended a call, of which wasmtime left one or the other. */
static RARE void wasmtime_failed(Export *export, void *error, void *trap) {
    if (export_raise_pending(export)) {
        if (error != NULL)
            wasmtime.error_delete(error);
        else
            wasmtime.trap_delete(trap);
    } else {
        export_failed(PyObject_CallFunction(export->sig.target, "KK",
                                            (unsigned long long)(uintptr_t)error,
                                            (unsigned long long)(uintptr_t)trap));
    }
}

static inline int wasmtime_run(Export *export, uint64_t *slots, ThisThread *thread) {
    WasmtimeExport *self = (WasmtimeExport *)export;
    if (!wasmtime_measured(thread))
        return -1;
    void *trap = NULL;
    PyThreadState *outer = guest_entered(thread);
    void *error = wasmtime.call(self->context, self->func, slots, export->values, &trap);
    guest_left(thread, outer);
    if (error == NULL && trap == NULL)
        return 0;
    wasmtime_failed(export, error, trap);
    return -1;
}

static PyObject *wasmtime_call(PyObject *callable, PyObject *const *args, size_t flags,
                               PyObject *names) {
    return export_call(callable, args, flags, names, wasmtime_run, WASMTIME_STRIDE);
}

static PyObject *WasmtimeExport_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long context;
    const char *func;
    Py_ssize_t size;
    Signature read;
    if (!PyArg_ParseTuple(args, "Ky#" SIGNATURE_FORMAT, &context, &func, &size, SIGNATURE_ITEMS(read)))
        return NULL;
    WasmtimeExport *self = (WasmtimeExport *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    if (size > (Py_ssize_t)sizeof self->func) {
        PyErr_SetString(PyExc_ValueError, "a wasmtime_func_t is smaller");
        Py_CLEAR(self);
    } else if (export_set(&self->export, &read, wasmtime_call) < 0) {
        Py_CLEAR(self);
    } else {
        self->context = (void *)(uintptr_t)context;
        memcpy(self->func, func, size);
    }
    return (PyObject *)self;
}

static PyTypeObject WasmtimeExport_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.WasmtimeExport",
    .tp_base = &Export_type,
    .tp_basicsize = sizeof(WasmtimeExport),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Export, vectorcall),
    .tp_new = WasmtimeExport_new,
};

/* Whether a host function may run as deep as this is called; an exception says why not. */
static inline int wasmtime_has_room(ThisThread *thread) {
    if (!wasmtime_measured(thread))
        return 0;
    if ((uintptr_t)__builtin_frame_address(0) >= thread->wasmtime_floor)
        return 1;
    Py_XDECREF(PyObject_CallNoArgs(wasmtime.too_deep));
    return 0;
}

/* A wasmtime_func_unchecked_callback_t, whose environment is a Host. */
static void *wasmtime_callback(void *environment, void *Py_UNUSED(caller), uint64_t *slots,
                               size_t Py_UNUSED(count)) {
    void *trap = NULL;
    ThisThread *thread = &this_thread;
    HostThread entered = host_entered(thread);
    Host *self = environment;
    Py_INCREF(self);
    if (!wasmtime_has_room(thread) || host_run(self, slots, slots, WASMTIME_STRIDE) < 0) {
        gate_keep_exception(self->sig.gate);
        trap = wasmtime.trap_new(WASMTIME_END, sizeof WASMTIME_END - 1);
    }
    Py_DECREF(self);
    host_left(thread, entered);
    return trap;
}

/* Runs a call on its own stack, whose floor was found before, or is 0; whether it is at its end. */
static int wasmtime_poll(void *future, uintptr_t *floor) {
    ThisThread *thread = &this_thread;
    uintptr_t outer_floor = thread->wasmtime_floor;
    int outer_on_fiber = thread->wasmtime_on_fiber;
    thread->wasmtime_floor = *floor;
    thread->wasmtime_on_fiber = 1;
    PyThreadState *outer = guest_entered(thread);
    bool done = wasmtime.poll(future);
    guest_left(thread, outer);
    *floor = thread->wasmtime_floor;
    thread->wasmtime_floor = outer_floor;
    thread->wasmtime_on_fiber = outer_on_fiber;
    return done;
}

static PyObject *use_wasmtime(PyObject *Py_UNUSED(module), PyObject *args) {
    unsigned long long call, trap_new, trap_delete, error_delete, call_async, poll, future_delete,
        set_epoch_deadline, fiber_room;
    PyObject *measure, *too_deep;
    if (!PyArg_ParseTuple(args, "KKKKKKKKOOK", &call, &trap_new, &trap_delete, &error_delete,
                          &call_async, &poll, &future_delete, &set_epoch_deadline, &measure,
                          &too_deep, &fiber_room))
        return NULL;
    Py_INCREF(measure);
    Py_INCREF(too_deep);
    wasmtime.call = (void *(*)(void *, const void *, void *, size_t, void **))(uintptr_t)call;
    wasmtime.trap_new = (void *(*)(const char *, size_t))(uintptr_t)trap_new;
    wasmtime.trap_delete = (WasmtimeDelete)(uintptr_t)trap_delete;
    wasmtime.error_delete = (WasmtimeDelete)(uintptr_t)error_delete;
    wasmtime.call_async = (void *(*)(void *, const void *, const void *, size_t, void *, size_t,
                                     void **, void **))(uintptr_t)call_async;
    wasmtime.poll = (bool (*)(void *))(uintptr_t)poll;
    wasmtime.future_delete = (WasmtimeDelete)(uintptr_t)future_delete;
    wasmtime.set_epoch_deadline = (void (*)(void *, uint64_t))(uintptr_t)set_epoch_deadline;
    wasmtime.fiber_room = (uintptr_t)fiber_room;
    Py_XSETREF(wasmtime.measure, measure);
    Py_XSETREF(wasmtime.too_deep, too_deep);
    Py_RETURN_NONE;
}

#endif
