/* A thread that calls a C function at intervals, without Python: threads that hold the GIL cannot
 * keep it from doing so. See anywasm.core.deadlines.Ticker, which does the same in Python. */

#ifndef ANYWASM_FASTCALL_TICKER_H
#define ANYWASM_FASTCALL_TICKER_H

#include <Python.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

typedef void (*Tick)(void *);

typedef struct {
    PyObject_HEAD
    Tick tick;
    void *argument;
    PyObject *owner; /* keeps what `argument` points to */
    double interval, idle;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic double until;
    atomic_bool ticking, closed;
    int started; /* guarded by the GIL */
} TickerObject;

static double ticker_now(void) {
    struct timespec now; /* time.monotonic reads the same clock */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ticker_wanted(TickerObject *ticker) {
    return ticker_now() < ticker->until + ticker->idle;
}

static void *ticker_run(void *self) {
    TickerObject *ticker = self;
#ifdef __linux__
    prctl(PR_SET_NAME, "anywasm-ticker");
#endif
    const struct timespec interval = {(time_t)ticker->interval,
                                      (long)(1e9 * (ticker->interval - (long)ticker->interval))};
    while (!ticker->closed) {
        while (!ticker->closed && ticker_wanted(ticker)) {
            nanosleep(&interval, NULL);
            ticker->tick(ticker->argument);
        }
        pthread_mutex_lock(&ticker->mutex);
        /* Whoever arms it from here on wakes it; who did just before is seen in `until`. */
        ticker->ticking = 0;
        while (!ticker->closed && !ticker->ticking && !ticker_wanted(ticker))
            pthread_cond_wait(&ticker->changed, &ticker->mutex);
        ticker->ticking = 1;
        pthread_mutex_unlock(&ticker->mutex);
    }
    return NULL;
}

static int ticker_start(TickerObject *ticker) {
    /* Signals belong to Python's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&ticker->thread, NULL, ticker_run, ticker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
        return -1;
    }
    ticker->started = 1;
    return 0;
}

static PyObject *Ticker_arm(PyObject *self, PyObject *until) {
    TickerObject *ticker = (TickerObject *)self;
    double end = PyFloat_AsDouble(until);
    if (end == -1.0 && PyErr_Occurred())
        return NULL;
    if (end > ticker->until)
        ticker->until = end;
    if (!ticker->ticking && !ticker->closed) {
        if (!ticker->started) {
            ticker->ticking = 1;
            if (ticker_start(ticker) < 0) {
                ticker->ticking = 0;
                return NULL;
            }
        } else {
            pthread_mutex_lock(&ticker->mutex);
            ticker->ticking = 1;
            pthread_cond_signal(&ticker->changed);
            pthread_mutex_unlock(&ticker->mutex);
        }
    }
    Py_RETURN_NONE;
}

static PyObject *Ticker_close(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    TickerObject *ticker = (TickerObject *)self;
    if (!atomic_exchange(&ticker->closed, 1) && ticker->started) {
        Py_BEGIN_ALLOW_THREADS;
        pthread_mutex_lock(&ticker->mutex);
        pthread_cond_signal(&ticker->changed);
        pthread_mutex_unlock(&ticker->mutex);
        pthread_join(ticker->thread, NULL);
        Py_END_ALLOW_THREADS;
    }
    Py_CLEAR(ticker->owner);
    Py_RETURN_NONE;
}

static PyObject *Ticker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    unsigned long long tick, argument;
    double interval, idle;
    PyObject *owner;
    if (!PyArg_ParseTuple(args, "KKddO", &tick, &argument, &interval, &idle, &owner))
        return NULL;
    TickerObject *ticker = (TickerObject *)type->tp_alloc(type, 0);
    if (ticker == NULL)
        return NULL;
    ticker->tick = (Tick)(uintptr_t)tick;
    ticker->argument = (void *)(uintptr_t)argument;
    ticker->interval = interval;
    ticker->idle = idle;
    Py_INCREF(owner);
    ticker->owner = owner;
    pthread_mutex_init(&ticker->mutex, NULL);
    pthread_cond_init(&ticker->changed, NULL);
    return (PyObject *)ticker;
}

static void Ticker_dealloc(PyObject *self) {
    PyObject *closed = Ticker_close(self, NULL);
    Py_XDECREF(closed);
    pthread_cond_destroy(&((TickerObject *)self)->changed);
    pthread_mutex_destroy(&((TickerObject *)self)->mutex);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef Ticker_methods[] = {
    {"arm", Ticker_arm, METH_O, "Keep ticking until that second and the idle ones beyond."},
    {"close", Ticker_close, METH_NOARGS, "End the thread. Idempotent."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Ticker_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.engines._fastcall.Ticker",
    .tp_doc = "Ticker(function, argument, interval, idle, owner): a ticking thread.",
    .tp_basicsize = sizeof(TickerObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = Ticker_methods,
    .tp_new = Ticker_new,
    .tp_dealloc = Ticker_dealloc,
};

#endif
