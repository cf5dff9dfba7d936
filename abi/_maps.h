/* Host functions on header maps, as anywasm.abi.hostcalls.maps has them, where all is as it should be:
 * the map is there, the field can be sent, and is within the limits. All else is left to the function
 * in Python, so that each status, and each line in the log, is said once; but a header that is not
 * there is told from here, as filters mostly ask for such. */

#ifndef ANYWASM_MAPS_H
#define ANYWASM_MAPS_H

#include "_pairs.h"

static PyTypeObject *services_type, *limits_type;
static struct {
    Py_ssize_t guest, maps, plugin;
} map_context_at;
static struct {
    Py_ssize_t services, limits, pairs, pairs_bytes, abi;
} guest_slots;
static long calls_begin; /* the first map that belongs to the plugin */
static PyObject *not_found;

typedef struct {
    Py_ssize_t pairs, bytes;
} Limits;

/* The map of that number, or NULL where the Python function has to look; a new reference. */
static HeaderMap *map_of(PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted) {
    if (given != wanted || !PyObject_TypeCheck(args[0], context_type) || !PyLong_CheckExact(args[1]))
        return NULL;
    for (Py_ssize_t i = 2; i < given; i++)
        if (!PyBytes_CheckExact(args[i]))
            return NULL;
    PyObject *maps = slot_at(args[0], map_context_at.maps);
    int overflow;
    long kind = PyLong_AsLongAndOverflow(args[1], &overflow);
    if (maps == NULL || !PyList_CheckExact(maps) || overflow || kind < 0 || kind >= calls_begin ||
        kind >= PyList_GET_SIZE(maps))
        return NULL;
    PyObject *map = PyList_GET_ITEM(maps, kind);
    if (!Py_IS_TYPE(map, &HeaderMap_type) || !is_simple((HeaderMap *)map))
        return NULL;
    Py_INCREF(map);
    return (HeaderMap *)map;
}

/* The value of a slot of an object of that very type; NULL where it is another. */
static PyObject *known_slot(PyObject *object, PyTypeObject *type, Py_ssize_t offset) {
    return object != NULL && Py_IS_TYPE(object, type) ? slot_at(object, offset) : NULL;
}

/* What the guest may have held for it: whether that could be found out. */
static int find_limits(PyObject *context, Limits *limits) {
    PyObject *services =
        known_slot(slot_at(context, map_context_at.guest), guest_type, guest_slots.services);
    PyObject *held = known_slot(services, services_type, guest_slots.limits);
    PyObject *pairs = known_slot(held, limits_type, guest_slots.pairs);
    PyObject *bytes = known_slot(held, limits_type, guest_slots.pairs_bytes);
    if (pairs == NULL || bytes == NULL || !PyLong_Check(pairs) || !PyLong_Check(bytes))
        return 0;
    limits->pairs = PyLong_AsSsize_t(pairs);
    limits->bytes = PyLong_AsSsize_t(bytes);
    if (PyErr_Occurred()) {
        PyErr_Clear(); /* too large a number */
        return 0;
    }
    return limits->pairs > 0 && limits->bytes >= 0;
}

/* As `_fits`. */
static int fits(const Limits *limits, HeaderMap *map, PyObject *name, PyObject *value) {
    Py_ssize_t more = PyBytes_GET_SIZE(name), rest = limits->bytes - more;
    if (rest < PyBytes_GET_SIZE(value))
        return 0;
    more += PyBytes_GET_SIZE(value);
    if (more <= limits->bytes / limits->pairs)
        return 1;
    Py_ssize_t held = map_bytes(map);
    return held != STRANGE && held <= limits->bytes - more;
}

/* The answer of a function that gives a status: of the Python one, where the work is not done. */
static PyObject *told(int status, HeaderMap *map, PyObject *python, PyObject *const *args,
                      Py_ssize_t count) {
    Py_XDECREF(map);
    if (status < 0)
        return NULL;
    if (status == 0)
        return PyObject_Vectorcall(python, args, (size_t)count, NULL);
    Py_RETURN_NONE;
}

/* The same of one that gives a value. */
static PyObject *given(PyObject *value, HeaderMap *map, PyObject *python, PyObject *const *args,
                       Py_ssize_t count) {
    Py_XDECREF(map);
    return value != NULL || PyErr_Occurred() ? value
                                             : PyObject_Vectorcall(python, args, (size_t)count, NULL);
}

/* --- the functions; each has the Python one as its `self` ----------------------------------------- */

static PyObject *get_size(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 2);
    Py_ssize_t size = map == NULL ? STRANGE : map_bytes(map);
    return given(size == STRANGE ? NULL : PyLong_FromSsize_t(size), map, python, args, count);
}

static PyObject *get_pairs(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 2);
    return given(map == NULL ? NULL : encode_map(map), map, python, args, count);
}

static PyObject *set_pairs(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 3);
    Limits limits;
    PyObject *pairs = map == NULL || !find_limits(args[0], &limits)
                          ? NULL
                          : decode_map(args[2], limits.pairs, limits.bytes);
    int status = pairs != NULL ? map_set_pairs(map, pairs) : PyErr_Occurred() ? -1 : 0;
    Py_XDECREF(pairs);
    return told(status, map, python, args, count);
}

/* Whether an absent header has a status in the guest's version: in all but 0.1.0. */
static int tells_absence(PyObject *context) {
    static PyObject *known;
    static int tells;
    PyObject *abi = known_slot(slot_at(context, map_context_at.guest), guest_type, guest_slots.abi);
    if (abi == NULL || abi == known)
        return abi != NULL && tells;
    PyObject *name = PyObject_GetAttrString(abi, "name");
    if (name == NULL || !PyUnicode_Check(name)) {
        PyErr_Clear();
        Py_XDECREF(name);
        return 0;
    }
    tells = PyUnicode_CompareWithASCIIString(name, "0.1.0") != 0;
    Py_DECREF(name);
    Py_INCREF(abi);
    Py_XSETREF(known, abi);
    return tells;
}

static PyObject *get_value(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 3);
    Py_ssize_t at = map == NULL ? STRANGE : find_pair(map->pairs, args[2], 0);
    PyObject *value = at >= 0 ? PyTuple_GET_ITEM(PyList_GET_ITEM(map->pairs, at), 1)
                      : at == ABSENT && tells_absence(args[0]) ? not_found
                                                               : NULL;
    Py_XINCREF(value);
    return given(value, map, python, args, count);
}

static PyObject *add_value(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 4);
    Limits limits;
    int simple = map != NULL && is_field(args[2], args[3]) && find_limits(args[0], &limits) &&
                 PyList_GET_SIZE(map->pairs) < limits.pairs && fits(&limits, map, args[2], args[3]);
    return told(simple ? map_add(map, args[2], args[3]) : 0, map, python, args, count);
}

static PyObject *replace_value(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 4);
    Limits limits;
    int simple = map != NULL && is_field(args[2], args[3]) && find_limits(args[0], &limits) &&
                 (PyList_GET_SIZE(map->pairs) < limits.pairs ||
                  find_pair(map->pairs, args[2], 0) >= 0) &&
                 fits(&limits, map, args[2], args[3]);
    return told(simple ? map_replace(map, args[2], args[3]) : 0, map, python, args, count);
}

static PyObject *remove_value(PyObject *python, PyObject *const *args, Py_ssize_t count) {
    HeaderMap *map = map_of(args, count, 3);
    return told(map == NULL ? 0 : map_remove(map, args[2]), map, python, args, count);
}

#define FUNCTION(name, function) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}

static PyMethodDef map_functions[] = {
    FUNCTION("proxy_get_header_map_size", get_size),
    FUNCTION("proxy_get_header_map_pairs", get_pairs),
    FUNCTION("proxy_set_header_map_pairs", set_pairs),
    FUNCTION("proxy_get_header_map_value", get_value),
    FUNCTION("proxy_add_header_map_value", add_value),
    FUNCTION("proxy_replace_header_map_value", replace_value),
    FUNCTION("proxy_remove_header_map_value", remove_value),
    {NULL, NULL, 0, NULL},
};

/* --- finding them -------------------------------------------------------------------------------- */

/* Finds the classes whose slots are used here; 0, or -1 with an exception. */
static int find_maps(void) {
    static int found;
    if (found)
        return 0;
    if (find_guest() < 0)
        return -1;
    services_type = (PyTypeObject *)import_from("anywasm.abi.host", "HostServices");
    limits_type = (PyTypeObject *)import_from("anywasm.abi.limits", "AbiLimits");
    PyObject *kinds = import_from("anywasm.abi.enums", "MapType");
    PyObject *first =
        kinds == NULL ? NULL : PyObject_GetAttrString(kinds, "GRPC_CALL_INITIAL_METADATA");
    calls_begin = first == NULL ? -1 : PyLong_AsLong(first);
    Py_XDECREF(first);
    Py_XDECREF(kinds);
    PyObject *statuses = import_from("anywasm.abi.enums", "Status");
    not_found = statuses == NULL ? NULL : PyObject_GetAttrString(statuses, "NOT_FOUND");
    Py_XDECREF(statuses);
    struct {
        Py_ssize_t *at;
        PyTypeObject *cls;
        const char *name;
    } slots[] = {
        {&map_context_at.guest, context_type, "guest"},
        {&map_context_at.maps, context_type, "maps"},
        {&map_context_at.plugin, context_type, "plugin"},
        {&guest_slots.services, guest_type, "services"},
        {&guest_slots.abi, guest_type, "abi"},
        {&guest_slots.limits, services_type, "limits"},
        {&guest_slots.pairs, limits_type, "pairs"},
        {&guest_slots.pairs_bytes, limits_type, "pairs_bytes"},
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (slots[i].cls == NULL ||
            (*slots[i].at = slot_offset((PyObject *)slots[i].cls, slots[i].name)) < 0)
            return -1;
    if (calls_begin < 0 || not_found == NULL)
        return -1;
    fill_names();
    found = 1;
    return 0;
}

#endif
