/* Headers as guests see them: what anywasm.abi.headers.HeaderMap says in Python. Whatever is not a list
 * of pairs of bytes is left to that class, so that it answers, or fails, as there. */

#ifndef ANYWASM_HEADERS_H
#define ANYWASM_HEADERS_H

#include "_guestcall.h"

/* Where a header is not, and where the Python class has to look. */
#define ABSENT (-1)
#define STRANGE (-2)

/* Not known to the garbage collector: it holds bytes, and these hold nothing. */
typedef struct {
    PyObject_HEAD
    PyObject *pairs;
} HeaderMap;

static PyTypeObject HeaderMap_type;

/* Has the Python class do it. */
static PyObject *map_in_python(PyObject *self, const char *method, PyObject *const *args,
                               Py_ssize_t count, PyObject *names) {
    static PyObject *cls;
    if (cls == NULL && (cls = import_from("anywasm.abi.headers", "PythonHeaderMap")) == NULL)
        return NULL;
    return call_unbound(cls, method, self, args, count, names);
}

/* --- pairs -------------------------------------------------------------------------------------- */

static inline int is_pair(PyObject *item) {
    return PyTuple_CheckExact(item) && PyTuple_GET_SIZE(item) == 2 &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(item, 0)) &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(item, 1));
}

static inline char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + ('a' - 'A')) : letter;
}

/* Whether a key is the name in lower case. */
static inline int is_named(PyObject *key, const char *name, Py_ssize_t size) {
    if (PyBytes_GET_SIZE(key) != size)
        return 0;
    const char *letters = PyBytes_AS_STRING(key);
    for (Py_ssize_t i = 0; i < size; i++)
        if (letters[i] != lower(name[i]))
            return 0;
    return 1;
}

static inline int is_pseudo(PyObject *name) {
    return PyBytes_AS_STRING(name)[0] == ':'; /* behind an empty one stands a NUL */
}

/* The name itself, where it is in lower case. */
static PyObject *lowered(PyObject *name) {
    const char *letters = PyBytes_AS_STRING(name);
    Py_ssize_t size = PyBytes_GET_SIZE(name), first = 0;
    while (first < size && letters[first] == lower(letters[first]))
        first++;
    if (first == size) {
        Py_INCREF(name);
        return name;
    }
    /* Not from the letters: of one byte, Python keeps an object for all. */
    PyObject *made = PyBytes_FromStringAndSize(NULL, size);
    for (Py_ssize_t i = 0; made != NULL && i < size; i++)
        PyBytes_AS_STRING(made)[i] = lower(letters[i]);
    return made;
}

static PyObject *make_pair(PyObject *name, PyObject *value) {
    PyObject *key = lowered(name), *pair = key == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(key);
        return NULL;
    }
    Py_INCREF(value);
    PyTuple_SET_ITEM(pair, 0, key);
    PyTuple_SET_ITEM(pair, 1, value);
    return pair;
}

/* Where the first pair of that name is, from an index on. */
static Py_ssize_t find_pair(PyObject *pairs, PyObject *name, Py_ssize_t from) {
    const char *letters = PyBytes_AS_STRING(name);
    Py_ssize_t size = PyBytes_GET_SIZE(name);
    for (Py_ssize_t i = from; i < PyList_GET_SIZE(pairs); i++) {
        PyObject *item = PyList_GET_ITEM(pairs, i);
        if (!is_pair(item))
            return STRANGE;
        if (is_named(PyTuple_GET_ITEM(item, 0), letters, size))
            return i;
    }
    return ABSENT;
}

/* A new list of what has another name, from an index on; NULL where there are other things. */
static PyObject *others(PyObject *pairs, PyObject *name, Py_ssize_t from) {
    const char *letters = PyBytes_AS_STRING(name);
    Py_ssize_t size = PyBytes_GET_SIZE(name);
    PyObject *kept = PyList_New(0);
    for (Py_ssize_t i = from; kept != NULL && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *item = PyList_GET_ITEM(pairs, i);
        if (!is_pair(item) || (!is_named(PyTuple_GET_ITEM(item, 0), letters, size) &&
                               PyList_Append(kept, item) < 0))
            Py_CLEAR(kept);
    }
    return kept;
}

/* Appends those that are pseudo headers, or those that are not, with names in lower case; -1 where
 * there are other things, or with an exception. */
static int append_half(PyObject *list, PyObject *pairs, int pseudo) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(pairs); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(pairs, i);
        if (!is_pair(item))
            return -1;
        PyObject *name = PyTuple_GET_ITEM(item, 0);
        if (is_pseudo(name) != pseudo)
            continue;
        Py_INCREF(item);
        PyObject *pair = make_pair(name, PyTuple_GET_ITEM(item, 1));
        int status = pair == NULL ? -1 : PyList_Append(list, pair);
        Py_XDECREF(pair);
        Py_DECREF(item);
        if (status < 0)
            return -1;
    }
    return 0;
}

/* --- the map: 1, or 0 where the Python class has to do it, or -1 with an exception ---------------- */

static inline int is_simple(HeaderMap *self) {
    return self->pairs != NULL && PyList_CheckExact(self->pairs);
}

static int map_append(HeaderMap *self, PyObject *name, PyObject *pair) {
    PyObject *pairs = self->pairs;
    if (!is_pseudo(name))
        return PyList_Append(pairs, pair) < 0 ? -1 : 1;
    Py_ssize_t end = 0;
    for (; end < PyList_GET_SIZE(pairs); end++) {
        PyObject *item = PyList_GET_ITEM(pairs, end);
        if (!is_pair(item))
            return 0;
        if (!is_pseudo(PyTuple_GET_ITEM(item, 0)))
            break;
    }
    return PyList_Insert(pairs, end, pair) < 0 ? -1 : 1;
}

static int map_add(HeaderMap *self, PyObject *name, PyObject *value) {
    if (!is_simple(self) || !PyBytes_CheckExact(name) || !PyBytes_CheckExact(value))
        return 0;
    PyObject *pair = make_pair(name, value);
    int status = pair == NULL ? -1 : map_append(self, name, pair);
    Py_XDECREF(pair);
    return status;
}

/* Replaces the pair at an index and drops those of its name behind it. */
static int map_put(HeaderMap *self, PyObject *name, PyObject *pair, Py_ssize_t at) {
    PyObject *pairs = self->pairs;
    Py_ssize_t again = find_pair(pairs, name, at + 1);
    if (again == ABSENT) {
        Py_INCREF(pair);
        return PyList_SetItem(pairs, at, pair) < 0 ? -1 : 1;
    }
    PyObject *rest = again == STRANGE ? NULL : others(pairs, name, at + 1);
    if (rest == NULL)
        return PyErr_Occurred() ? -1 : 0;
    int status = PyList_Insert(rest, 0, pair);
    if (status == 0)
        status = PyList_SetSlice(pairs, at, PyList_GET_SIZE(pairs), rest);
    Py_DECREF(rest);
    return status < 0 ? -1 : 1;
}

static int map_replace(HeaderMap *self, PyObject *name, PyObject *value) {
    if (!is_simple(self) || !PyBytes_CheckExact(name) || !PyBytes_CheckExact(value))
        return 0;
    PyObject *pair = make_pair(name, value); /* first: whatever allocates may run other code */
    if (pair == NULL)
        return -1;
    Py_ssize_t at = find_pair(self->pairs, name, 0);
    int status = at == STRANGE  ? 0
                 : at == ABSENT ? map_append(self, name, pair)
                                : map_put(self, name, pair, at);
    Py_DECREF(pair);
    return status;
}

static int map_remove(HeaderMap *self, PyObject *name) {
    if (!is_simple(self) || !PyBytes_CheckExact(name))
        return 0;
    Py_ssize_t at = find_pair(self->pairs, name, 0);
    if (at < 0)
        return at == ABSENT;
    PyObject *kept = others(self->pairs, name, 0);
    if (kept == NULL)
        return PyErr_Occurred() ? -1 : 0;
    Py_SETREF(self->pairs, kept);
    return 1;
}

static int map_set_pairs(HeaderMap *self, PyObject *pairs) {
    if (!PyList_CheckExact(pairs) && !PyTuple_CheckExact(pairs))
        return 0;
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return -1;
    if (append_half(list, pairs, 1) < 0 || append_half(list, pairs, 0) < 0) {
        Py_DECREF(list);
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_XSETREF(self->pairs, list);
    return 1;
}

/* The bytes of all names and values, or STRANGE. */
static Py_ssize_t map_bytes(HeaderMap *self) {
    if (!is_simple(self))
        return STRANGE;
    Py_ssize_t sum = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->pairs); i++) {
        PyObject *item = PyList_GET_ITEM(self->pairs, i);
        if (!is_pair(item))
            return STRANGE;
        Py_ssize_t more = PyBytes_GET_SIZE(PyTuple_GET_ITEM(item, 0));
        if (more > PY_SSIZE_T_MAX - PyBytes_GET_SIZE(PyTuple_GET_ITEM(item, 1)))
            return STRANGE;
        more += PyBytes_GET_SIZE(PyTuple_GET_ITEM(item, 1));
        if (sum > PY_SSIZE_T_MAX - more) /* one value may stand there very often */
            return STRANGE;
        sum += more;
    }
    return sum;
}

#endif
