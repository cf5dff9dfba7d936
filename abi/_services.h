/* Logging and time, as anywasm.abi.hostcalls has them: lines of a level that is not kept, and what the
 * host's services tell. Lines that are kept are left to the function in Python. */

#ifndef ANYWASM_SERVICES_H
#define ANYWASM_SERVICES_H

#include "_maps.h"

static struct {
    Py_ssize_t log_level, realtime;
} services_at;

/* A service of the context's guest, borrowed; NULL where Python has to look. */
static PyObject *service_of(PyObject *context, Py_ssize_t at) {
    if (!PyObject_TypeCheck(context, context_type))
        return NULL;
    return known_slot(known_slot(slot_at(context, map_context_at.guest), guest_type, guest_slots.services),
                      services_type, at);
}

/* Critical, the highest level, is the last that can be below the one that is kept. */
enum { HIGHEST_LEVEL = 5 };

static PyObject *log_line(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *kept = count == 3 ? service_of(args[0], services_at.log_level) : NULL;
    if (kept != NULL && PyLong_Check(kept) && PyLong_CheckExact(args[1])) {
        int strange, too_large;
        long least = PyLong_AsLongAndOverflow(kept, &strange);
        long level = PyLong_AsLongAndOverflow(args[1], &too_large);
        if (!strange && !too_large && level <= HIGHEST_LEVEL && level < least)
            Py_RETURN_NONE;
    }
    return PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

static PyObject *get_log_level(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *level = count == 1 ? service_of(args[0], services_at.log_level) : NULL;
    if (level == NULL)
        return PyObject_Vectorcall(python, args, (size_t)count, NULL);
    Py_INCREF(level);
    return level;
}

static PyObject *get_time(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *clock = count == 1 ? service_of(args[0], services_at.realtime) : NULL;
    if (clock == NULL)
        return PyObject_Vectorcall(python, args, (size_t)count, NULL);
    Py_INCREF(clock);
    PyObject *now = PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    return now;
}

static PyMethodDef service_functions[] = {
    FUNCTION("proxy_log", log_line),
    FUNCTION("proxy_get_log_level", get_log_level),
    FUNCTION("proxy_get_current_time_nanoseconds", get_time),
    {NULL, NULL, 0, NULL},
};

static int find_services(void) {
    const Place places[] = {
        {&services_at.log_level, services_type, "log_level"},
        {&services_at.realtime, services_type, "realtime"},
        {NULL, NULL, NULL},
    };
    return find_places(places);
}

#endif
