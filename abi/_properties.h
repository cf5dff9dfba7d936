/* Properties, as anywasm.abi.properties has them, where a value is what its path's `PropertyKind` says.
 * All else, and each path that is asked for the first time, is left to the functions in Python. */

#ifndef ANYWASM_PROPERTIES_H
#define ANYWASM_PROPERTIES_H

#include "_contexts.h"
#include "_maps.h"
#include "_marshal.h"

/* As `PropertyKind`. */
enum { KIND_OTHER, KIND_PLUGIN, KIND_TEXT, KIND_NUMBER, KIND_ADDRESS, KIND_PORT, KIND_REQUEST_HEADER,
       KIND_STATE, KIND_HIGRESS_TEXT, KIND_HIGRESS_MEMORY };

static PyObject *found_properties; /* from a path's bytes to its `Property` */
static PyObject *name_filter_state, *name_profile, *name_size;
static Py_ssize_t most_path, most_state, most_state_bytes;
static Py_ssize_t guest_memory_slot;

static PyObject *new_reference(PyObject *object) {
    Py_XINCREF(object);
    return object;
}

/* What is read of a text, of None or of anything else; NULL where the Python function has to look. */
static PyObject *text_value(PyObject *text) {
    if (text == Py_None)
        return new_reference(not_found);
    Py_ssize_t size;
    const char *bytes = PyUnicode_CheckExact(text) ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    return bytes == NULL ? NULL : PyBytes_FromStringAndSize(bytes, size);
}

static PyObject *number_value(PyObject *number) {
    if (number == Py_None)
        return new_reference(not_found);
    int overflow;
    long long value = PyLong_CheckExact(number) ? PyLong_AsLongLongAndOverflow(number, &overflow) : 0;
    return !PyLong_CheckExact(number) || overflow ? NULL
                                                  : PyBytes_FromStringAndSize((char *)&value, 8);
}

static PyObject *endpoint_value(PyObject *endpoint, long kind) {
    if (endpoint == Py_None)
        return new_reference(not_found);
    if (!PyTuple_CheckExact(endpoint) || PyTuple_GET_SIZE(endpoint) != 2)
        return NULL;
    PyObject *host = PyTuple_GET_ITEM(endpoint, 0), *port = PyTuple_GET_ITEM(endpoint, 1);
    if (kind == KIND_PORT)
        return port == Py_None ? NULL : number_value(port);
    int overflow;
    long number = PyLong_CheckExact(port) ? PyLong_AsLongAndOverflow(port, &overflow) : 0;
    Py_ssize_t size;
    const char *text = PyUnicode_CheckExact(host) ? PyUnicode_AsUTF8AndSize(host, &size) : NULL;
    if (text == NULL || !PyLong_CheckExact(port) || overflow || memchr(text, 0, (size_t)size) != NULL)
        return NULL;
    return PyBytes_FromFormat(strchr(text, ':') != NULL ? "[%s]:%ld" : "%s:%ld", text, number);
}

/* The value of an attribute of the stream's `info`, as its kind is told. */
static PyObject *info_value(PyObject *stream, PyObject *name, long kind) {
    PyObject *info = slot_at(stream, stream_at.info);
    PyObject *found = info == NULL || !PyUnicode_Check(name) ? NULL : PyObject_GetAttr(info, name);
    PyObject *value = NULL;
    if (found != NULL)
        value = kind == KIND_TEXT ? text_value(found)
                : kind == KIND_NUMBER ? number_value(found) : endpoint_value(found, kind);
    Py_XDECREF(found);
    return value;
}

static PyObject *plugin_value(PyObject *context, PyObject *name) {
    PyObject *plugin = slot_at(context, map_context_at.plugin);
    PyObject *found = plugin == NULL ? NULL : PyObject_GetAttr(plugin, name);
    PyObject *value = found == NULL || found == Py_None ? NULL : text_value(found);
    Py_XDECREF(found);
    return value;
}

static PyObject *request_header_value(PyObject *stream, PyObject *name) {
    PyObject *maps = slot_at(stream, map_context_at.maps);
    if (maps == NULL || !PyList_CheckExact(maps) || PyList_GET_SIZE(maps) == 0)
        return NULL;
    PyObject *map = PyList_GET_ITEM(maps, 0);
    if (map == Py_None)
        return new_reference(not_found);
    if (!Py_IS_TYPE(map, &HeaderMap_type) || !is_simple((HeaderMap *)map))
        return NULL;
    PyObject *pairs = ((HeaderMap *)map)->pairs;
    Py_ssize_t at = find_pair(pairs, name, 0);
    if (at == ABSENT)
        return new_reference(not_found);
    return at < 0 ? NULL : new_reference(PyTuple_GET_ITEM(PyList_GET_ITEM(pairs, at), 1));
}

/* What guests have set for a stream, a dict; else NULL. A new reference. */
static PyObject *state_of(PyObject *stream) {
    PyObject *info = slot_at(stream, stream_at.info);
    PyObject *state = info == NULL ? NULL : PyObject_GetAttr(info, name_filter_state);
    if (state != NULL && !PyDict_CheckExact(state))
        Py_CLEAR(state);
    return state;
}

static PyObject *state_value(PyObject *stream, PyObject *name) {
    PyObject *state = state_of(stream);
    PyObject *value = state == NULL ? NULL : PyDict_GetItemWithError(state, name);
    if (value == NULL && state != NULL && !PyErr_Occurred())
        value = not_found;
    Py_XINCREF(value);
    Py_XDECREF(state);
    return value;
}

static int is_higress(PyObject *stream) {
    PyObject *plugin = slot_at(stream, map_context_at.plugin);
    PyObject *profile = plugin == NULL ? NULL : PyObject_GetAttr(plugin, name_profile);
    int is = profile == NULL || !PyUnicode_CheckExact(profile)
                 ? -1
                 : PyUnicode_CompareWithASCIIString(profile, "higress") == 0;
    Py_XDECREF(profile);
    return is;
}

static PyObject *memory_value(PyObject *stream) {
    PyObject *memory =
        known_slot(known_slot(slot_at(stream, map_context_at.guest), guest_type, guest_memory_slot),
                   (PyTypeObject *)guest_memory_type, guest_memory_at.memory);
    PyObject *size = memory == NULL ? NULL : PyObject_GetAttr(memory, name_size);
    PyObject *value = size == NULL || size == Py_None ? NULL : number_value(size);
    Py_XDECREF(size);
    return value;
}

static PyObject *higress_value(PyObject *stream, PyObject *names, long kind) {
    if (!PyTuple_CheckExact(names) || PyTuple_GET_SIZE(names) != 2)
        return NULL;
    PyObject *value = state_value(stream, PyTuple_GET_ITEM(names, 0));
    int below = value == not_found ? is_higress(stream) : 0;
    if (below == 0)
        return value;
    Py_DECREF(value);
    if (below < 0)
        return NULL;
    return kind == KIND_HIGRESS_MEMORY ? memory_value(stream)
                                       : info_value(stream, PyTuple_GET_ITEM(names, 1), KIND_TEXT);
}

/* The value of a `Property`, or NULL, maybe with an exception, where Python has to look. */
static PyObject *property_value(PyObject *context, PyObject *property) {
    if (!PyTuple_Check(property) || PyTuple_GET_SIZE(property) != 3)
        return NULL;
    long kind = PyLong_AsLong(PyTuple_GET_ITEM(property, 1));
    PyObject *name = PyTuple_GET_ITEM(property, 2);
    if (kind == KIND_PLUGIN)
        return plugin_value(context, name);
    if (!Py_IS_TYPE(context, stream_type))
        return NULL;
    switch (kind) {
    case KIND_TEXT:
    case KIND_NUMBER:
    case KIND_ADDRESS:
    case KIND_PORT:
        return info_value(context, name, kind);
    case KIND_REQUEST_HEADER:
        return request_header_value(context, name);
    case KIND_STATE:
        return state_value(context, name);
    case KIND_HIGRESS_TEXT:
    case KIND_HIGRESS_MEMORY:
        return higress_value(context, name, kind);
    default:
        return NULL;
    }
}

static PyObject *get_property(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    PyObject *value = NULL;
    if (count == 2 && PyObject_TypeCheck(args[0], context_type) && PyBytes_CheckExact(args[1])) {
        PyObject *property =
            new_reference(PyDict_GetItemWithError(found_properties, args[1]));
        if (property != NULL)
            value = property_value(args[0], property);
        Py_XDECREF(property);
        if (value == NULL)
            PyErr_Clear(); /* Python comes to the same, and says it */
    }
    return value != NULL ? value : PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

/* Whether one more value surely is within the limits of what guests may set. */
static int has_room(PyObject *state, PyObject *value) {
    if (PyDict_GET_SIZE(state) >= most_state)
        return 0;
    Py_ssize_t held = PyBytes_GET_SIZE(value), at = 0;
    PyObject *key, *other;
    while (PyDict_Next(state, &at, &key, &other)) {
        if (!PyBytes_CheckExact(other))
            return 0;
        held += PyBytes_GET_SIZE(other);
    }
    return held <= most_state_bytes;
}

static PyObject *set_property(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    static const char prefix[] = "wasm.";
    PyObject *state = NULL, *name = NULL;
    int done = 0;
    if (count == 3 && Py_IS_TYPE(args[0], stream_type) && PyBytes_CheckExact(args[1]) &&
        PyBytes_CheckExact(args[2]) && PyBytes_GET_SIZE(args[1]) <= most_path)
        state = state_of(args[0]);
    if (state != NULL && has_room(state, args[2]))
        name = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(args[1]) + 5);
    if (name != NULL) {
        memcpy(PyBytes_AS_STRING(name), prefix, 5);
        memcpy(PyBytes_AS_STRING(name) + 5, PyBytes_AS_STRING(args[1]),
               (size_t)PyBytes_GET_SIZE(args[1]));
        done = PyDict_SetItem(state, name, args[2]) == 0;
    }
    Py_XDECREF(name);
    Py_XDECREF(state);
    if (done)
        Py_RETURN_NONE;
    PyErr_Clear();
    return PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

static PyMethodDef property_functions[] = {
    FUNCTION("proxy_get_property", get_property),
    FUNCTION("proxy_set_property", set_property),
    {NULL, NULL, 0, NULL},
};

static int find_properties(void) {
    struct {
        Py_ssize_t *to;
        const char *name;
    } limits[] = {
        {&most_path, "MAX_PATH"},
        {&most_state, "MAX_STATE"},
        {&most_state_bytes, "MAX_STATE_BYTES"},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        PyObject *limit = import_from("anywasm.abi.properties", limits[i].name);
        *limits[i].to = limit == NULL ? -1 : PyLong_AsSsize_t(limit);
        Py_XDECREF(limit);
        if (*limits[i].to < 0)
            return -1;
    }
    name_filter_state = PyUnicode_InternFromString("filter_state");
    name_profile = PyUnicode_InternFromString("profile");
    name_size = PyUnicode_InternFromString("size");
    found_properties = import_from("anywasm.abi.property_paths", "FOUND");
    if (name_filter_state == NULL || name_profile == NULL || name_size == NULL ||
        found_properties == NULL || !PyDict_CheckExact(found_properties))
        return -1;
    return (guest_memory_slot = slot_offset((PyObject *)guest_type, "memory")) < 0 ? -1 : 0;
}

#endif
