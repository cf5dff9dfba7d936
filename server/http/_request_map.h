/* As anywasm.server.http.request_map, for what most requests are; all others are left to Python. */

#ifndef ANYWASM_REQUEST_MAP_H
#define ANYWASM_REQUEST_MAP_H

#include "_request_id.h"
#include "_wire.h"
#include <strings.h>

static PyObject *map_in_python;
static PyObject *key_authority, *key_path, *key_method, *key_scheme, *key_for, *key_proto, *key_id;
static PyObject *no_authority;

/* What the headers of a request say that does not stay where it stands. */
typedef struct {
    PyObject *authority; /* borrowed */
    int has_proto, has_id;
} Told;

/* What becomes of a header: it stays, goes, or has Python look. */
enum { STAYS, GOES, UNUSUAL };

static int is_about_this_connection(PyObject *value) {
    const char *text = PyBytes_AS_STRING(value);
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    return (size == 10 && strncasecmp(text, "keep-alive", 10) == 0) ||
           (size == 5 && strncasecmp(text, "close", 5) == 0);
}

static int judge_field(PyObject *name, PyObject *value, int trusts, Told *told) {
    switch (PyBytes_GET_SIZE(name)) {
    case 4:
        if (!IS(name, "host"))
            return STAYS;
        told->authority = value;
        return GOES;
    case 6:
        return IS(name, "expect") ? GOES : STAYS;
    case 7:
        return IS(name, "upgrade") ? GOES : STAYS;
    case 10:
        if (IS(name, "connection"))
            return is_about_this_connection(value) ? GOES : UNUSUAL;
        return IS(name, "keep-alive") ? GOES : STAYS;
    case 12:
        if (IS(name, "x-request-id"))
            told->has_id = 1;
        return STAYS;
    case 15:
        return IS(name, "x-forwarded-for") ? UNUSUAL : STAYS;
    case 16:
        return IS(name, "proxy-connection") ? GOES : STAYS;
    case 17:
        if (!IS(name, "x-forwarded-proto"))
            return STAYS;
        if (!trusts || told->has_proto)
            return GOES;
        told->has_proto = 1;
        return STAYS;
    }
    return STAYS;
}

static PyObject *make_map_pair(PyObject *name, PyObject *value) {
    PyObject *pair = PyTuple_New(2);
    if (pair == NULL)
        return NULL;
    Py_INCREF(name);
    Py_INCREF(value);
    PyTuple_SET_ITEM(pair, 0, name);
    PyTuple_SET_ITEM(pair, 1, value);
    return pair;
}

/* Appends a pair that is made of a name and a value; 0, or -1 with an exception. */
static int append_made(PyObject *list, PyObject *name, PyObject *value) {
    PyObject *pair = make_map_pair(name, value);
    int status = pair == NULL ? -1 : PyList_Append(list, pair);
    Py_XDECREF(pair);
    return status;
}

/* The same for a value that is mostly the very one that came last, whose pair is kept. */
static int append_kept(PyObject *list, PyObject **kept, PyObject *name, PyObject *value) {
    if (*kept == NULL || PyTuple_GET_ITEM(*kept, 1) != value) {
        PyObject *pair = make_map_pair(name, value);
        if (pair == NULL)
            return -1;
        Py_XSETREF(*kept, pair);
    }
    return PyList_Append(list, *kept);
}

static PyObject *kept_authority, *kept_method, *kept_scheme, *kept_proto;

/* Appends the headers that stay: 1, or 0 where Python has to look, or -1 with an exception. */
static int append_fields(PyObject *list, PyObject *fields, int trusts, Told *told) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(fields); i++) {
        PyObject *pair = PyList_GET_ITEM(fields, i);
        if (!is_wire_pair(pair))
            return 0;
        int judged =
            judge_field(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), trusts, told);
        if (judged == UNUSUAL)
            return 0;
        if (judged == STAYS && PyList_Append(list, pair) < 0)
            return -1;
    }
    return 1;
}

/* Sets the authority, whose place is the first. */
static int set_authority(PyObject *list, PyObject *authority) {
    PyObject *pair = make_map_pair(key_authority, authority);
    return pair == NULL ? -1 : PyList_SetItem(list, 0, pair);
}

/* Appends what the host adds; `args` as they were given. */
static int append_added(PyObject *list, PyObject *const *args, const Told *told) {
    if (args[4] != Py_None && append_made(list, key_for, args[4]) < 0)
        return -1;
    if (!told->has_proto && append_kept(list, &kept_proto, key_proto, args[3]) < 0)
        return -1;
    if (args[6] != Py_True || told->has_id)
        return 0;
    PyObject *id = request_id(NULL, NULL);
    int status = id == NULL ? -1 : append_made(list, key_id, id);
    Py_XDECREF(id);
    return status;
}

static int is_usual_request(PyObject *const *args, Py_ssize_t count) {
    if (count != 8 || !PyList_CheckExact(args[0]) || args[7] != Py_False)
        return 0;
    for (int i = 1; i < 4; i++)
        if (!PyBytes_CheckExact(args[i]))
            return 0;
    return PyBytes_GET_SIZE(args[2]) > 0 && PyBytes_AS_STRING(args[2])[0] == '/';
}

/* request_pairs(fields, method, target, scheme, client, trusts, generate_id, upgrade) */
static PyObject *request_pairs(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    Told told = {no_authority, 0, 0};
    int status = 0;
    PyObject *list = NULL;
    if (is_usual_request(args, count)) {
        list = PyList_New(0);
        status = list == NULL || append_kept(list, &kept_authority, key_authority, no_authority) < 0 ||
                         append_made(list, key_path, args[2]) < 0 ||
                         append_kept(list, &kept_method, key_method, args[1]) < 0 ||
                         append_kept(list, &kept_scheme, key_scheme, args[3]) < 0
                     ? -1
                     : append_fields(list, args[0], args[5] == Py_True, &told);
    }
    if (status > 0 &&
        (set_authority(list, told.authority) < 0 || append_added(list, args, &told) < 0))
        status = -1;
    if (status > 0)
        return list;
    Py_XDECREF(list);
    return status < 0 ? NULL : PyObject_Vectorcall(map_in_python, args, (size_t)count, NULL);
}

static int request_map_find(void) {
    struct {
        PyObject **to;
        const char *text;
    } texts[] = {
        {&key_authority, ":authority"},  {&key_path, ":path"},
        {&key_method, ":method"},        {&key_scheme, ":scheme"},
        {&key_for, "x-forwarded-for"},   {&key_proto, "x-forwarded-proto"},
        {&key_id, "x-request-id"},       {&no_authority, ""},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if ((*texts[i].to = PyBytes_FromString(texts[i].text)) == NULL)
            return -1;
    return 0;
}

#endif
