/* Exports and host functions over wasm3's m3_Call and raw functions. */

#ifndef ANYWASM_FASTCALL_WASM3_H
#define ANYWASM_FASTCALL_WASM3_H

#include "_fastcall_export.h"
#include "_fastcall_host.h"
#include "_fastcall_memory.h"

/* wasm3.h's, without its types. */
static struct {
    const void *(*call)(void *function, uint32_t count, const void **arguments);
    void (*clear_backtrace)(void *runtime);
    const void *raised; /* what a host function answers that raised */
    PyObject *measure;  /* () -> the lowest address of the thread's stack */
    PyObject *too_deep; /* () raises what stands against a host function too near to it */
} wasm3;

/* 64-bit slots for a value. A host function's results precede its arguments. */
#define WASM3_STRIDE 1

static inline int wasm3_measured(ThisThread *thread) {
    return thread->wasm3_low || (thread->wasm3_low = ask_address(wasm3.measure));
}

/* What the calls of one instance share. */
typedef struct {
    PyObject_HEAD
    void *runtime;
    const struct {
        uint64_t stack;
        uint32_t stack_size, stack_slots;
        uint64_t last_called, user_data, memory;
        uint32_t memory_pages, memory_maximum;
    } *fields;         /* see anywasm.engines.wasm3.library.RuntimeFields */
    uintptr_t end;     /* of wasm3's stack */
    uintptr_t ratio;   /* native bytes of stack for each of wasm3's */
    uintptr_t reserve; /* native bytes that are left to host functions */
    PyObject *memory;  /* the Wasm3Memory */
    uint64_t memory_at;
    uint32_t memory_pages;
} Wasm3Machine;

/* Whenever guest code ran, the memory may have grown, and moved: between these two. */
static inline void wasm3_note_memory(Wasm3Machine *machine) {
    machine->memory_at = machine->fields->memory;
    machine->memory_pages = machine->fields->memory_pages;
}

static inline void wasm3_check_memory(Wasm3Machine *machine) {
    if (machine->memory_at != machine->fields->memory ||
        machine->memory_pages != machine->fields->memory_pages)
        memory_invalidate(machine->memory);
}

static PyObject *Wasm3Machine_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long runtime, fields, end, ratio, reserve;
    PyObject *memory;
    if (!PyArg_ParseTuple(args, "KKKKKO!", &runtime, &fields, &end, &ratio, &reserve, memory_type,
                          &memory))
        return NULL;
    Wasm3Machine *self = (Wasm3Machine *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->runtime = (void *)(uintptr_t)runtime;
    self->fields = (void *)(uintptr_t)fields;
    self->end = (uintptr_t)end;
    self->ratio = (uintptr_t)ratio;
    self->reserve = (uintptr_t)reserve;
    Py_INCREF(memory);
    self->memory = memory;
    return (PyObject *)self;
}

static int Wasm3Machine_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Wasm3Machine *)self)->memory);
    return 0;
}

static void Wasm3Machine_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((Wasm3Machine *)self)->memory);
    Py_TYPE(self)->tp_free(self);
}

static PyTypeObject Wasm3Machine_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Wasm3Machine",
    .tp_doc = "What the calls of one instance share.",
    .tp_basicsize = sizeof(Wasm3Machine),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Wasm3Machine_new,
    .tp_traverse = Wasm3Machine_traverse,
    .tp_dealloc = Wasm3Machine_dealloc,
};

/* --- exports ----------------------------------------------------------------------------------- */

typedef struct {
    Export export; /* whose engine is a Wasm3Machine */
    void *function;
} Wasm3Export;

static inline const void *wasm3_enter(Wasm3Export *self, uint64_t *slots, const void **at,
                                      ThisThread *thread) {
    Py_ssize_t in = PyBytes_GET_SIZE(self->export.sig.params);
    Py_ssize_t out = PyBytes_GET_SIZE(self->export.sig.results);
    for (Py_ssize_t i = 0; i < in; i++)
        at[i] = slots + i;
    Wasm3Machine *machine = (Wasm3Machine *)self->export.sig.engine;
    wasm3_note_memory(machine);
    PyThreadState *outer = guest_entered(thread);
    const void *failed = wasm3.call(self->function, (uint32_t)in, at);
    guest_left(thread, outer);
    wasm3_check_memory(machine);
    /* As m3_GetResults, which would look whether it is this function that was called last. They are
     * copied before anything is made of them: that may run Python code, which may call the guest. */
    const uint64_t *results = (const uint64_t *)(uintptr_t)machine->fields->stack;
    for (Py_ssize_t i = 0; failed == NULL && i < out; i++)
        slots[i] = results[i];
    return failed;
}

static RARE void wasm3_failed(Export *export, const void *failed) {
    if (failed == wasm3.raised && export_raise_pending(export))
        wasm3.clear_backtrace(((Wasm3Machine *)export->sig.engine)->runtime);
    else
        export_failed(PyObject_CallFunction(export->sig.target, "K",
                                            (unsigned long long)(uintptr_t)failed));
}

static inline int wasm3_run(Export *export, uint64_t *slots, ThisThread *thread) {
    Wasm3Export *self = (Wasm3Export *)export;
    if (!wasm3_measured(thread))
        return -1;
    const void *few[FEW], **at = few;
    if (export->values > FEW && (at = PyMem_New(const void *, export->values)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const void *failed = wasm3_enter(self, slots, at, thread);
    if (at != few)
        PyMem_Free(at);
    if (failed == NULL)
        return 0;
    wasm3_failed(export, failed);
    return -1;
}

static PyObject *wasm3_call(PyObject *callable, PyObject *const *args, size_t flags, PyObject *names) {
    return export_call(callable, args, flags, names, wasm3_run, WASM3_STRIDE);
}

static PyObject *Wasm3Export_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long function;
    Signature read;
    if (!PyArg_ParseTuple(args, "K" SIGNATURE_FORMAT, &function, SIGNATURE_ITEMS(read)))
        return NULL;
    Wasm3Export *self = NULL;
    if (!Py_IS_TYPE(read.engine, &Wasm3Machine_type))
        PyErr_Format(PyExc_TypeError, "%R is no Wasm3Machine", read.engine);
    else
        self = (Wasm3Export *)type->tp_alloc(type, 0);
    if (self != NULL && export_set(&self->export, &read, wasm3_call) < 0)
        Py_CLEAR(self);
    if (self != NULL)
        self->function = (void *)(uintptr_t)function;
    return (PyObject *)self;
}

static PyTypeObject Wasm3Export_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Wasm3Export",
    .tp_base = &Export_type,
    .tp_basicsize = sizeof(Wasm3Export),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Export, vectorcall),
    .tp_new = Wasm3Export_new,
};

/* --- host functions ---------------------------------------------------------------------------- */

static inline int wasm3_host_run(Host *self, uint64_t *slots, uintptr_t depth,
                                 ThisThread *thread) {
    Wasm3Machine *machine = (Wasm3Machine *)self->sig.engine;
    if (!wasm3_measured(thread))
        return -1;
    /* Below this the native stack would not do for the rest of wasm3's, and the reserve. */
    uintptr_t rest = machine->end - (uintptr_t)slots;
    if (depth < thread->wasm3_low + machine->reserve + rest * machine->ratio) {
        Py_XDECREF(PyObject_CallNoArgs(wasm3.too_deep));
        return -1;
    }
    return host_run(self, slots + PyBytes_GET_SIZE(self->sig.results), slots, WASM3_STRIDE);
}

/* An M3RawCall whose user data is a Host with a Wasm3Machine; the context is on the native stack. */
static const void *wasm3_callback(void *Py_UNUSED(runtime), void **context, uint64_t *slots,
                                  void *Py_UNUSED(memory)) {
    const void *failed = NULL;
    ThisThread *thread = &this_thread;
    HostThread entered = host_entered(thread);
    Host *self = context[0];
    Wasm3Machine *machine = (Wasm3Machine *)self->sig.engine;
    Py_INCREF(self);
    wasm3_check_memory(machine);
    if (wasm3_host_run(self, slots, (uintptr_t)context, thread) < 0) {
        gate_keep_exception(self->sig.gate);
        failed = wasm3.raised;
    }
    wasm3_note_memory(machine);
    Py_DECREF(self);
    host_left(thread, entered);
    return failed;
}

static PyObject *use_wasm3(PyObject *Py_UNUSED(module), PyObject *args) {
    unsigned long long call, clear_backtrace, raised;
    PyObject *measure, *too_deep;
    if (!PyArg_ParseTuple(args, "KKKOO", &call, &clear_backtrace, &raised, &measure, &too_deep))
        return NULL;
    Py_INCREF(measure);
    Py_INCREF(too_deep);
    wasm3.call = (const void *(*)(void *, uint32_t, const void **))(uintptr_t)call;
    wasm3.clear_backtrace = (void (*)(void *))(uintptr_t)clear_backtrace;
    wasm3.raised = (const void *)(uintptr_t)raised;
    Py_XSETREF(wasm3.measure, measure);
    Py_XSETREF(wasm3.too_deep, too_deep);
    Py_RETURN_NONE;
}

#endif
