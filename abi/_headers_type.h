/* The type of _headers.h as Python sees it. */

#ifndef ANYWASM_HEADERS_TYPE_H
#define ANYWASM_HEADERS_TYPE_H

#include "_headers.h"

/* What a method answers, from what its function did. */
static PyObject *map_done(int status, PyObject *self, const char *method, PyObject *const *args,
                          Py_ssize_t count, PyObject *names) {
    if (status < 0)
        return NULL;
    if (status == 0)
        return map_in_python(self, method, args, count, names);
    Py_RETURN_NONE;
}

static PyObject *HeaderMap_get(PyObject *object, PyObject *const *args, Py_ssize_t count,
                               PyObject *names) {
    HeaderMap *self = (HeaderMap *)object;
    int simple = count == 1 && names == NULL && is_simple(self) && PyBytes_CheckExact(args[0]);
    Py_ssize_t at = simple ? find_pair(self->pairs, args[0], 0) : STRANGE;
    if (at == STRANGE)
        return map_in_python(object, "get", args, count, names);
    if (at == ABSENT)
        Py_RETURN_NONE;
    PyObject *value = PyTuple_GET_ITEM(PyList_GET_ITEM(self->pairs, at), 1);
    Py_INCREF(value);
    return value;
}

static PyObject *HeaderMap_add(PyObject *object, PyObject *const *args, Py_ssize_t count,
                               PyObject *names) {
    int simple = count == 2 && names == NULL;
    return map_done(simple ? map_add((HeaderMap *)object, args[0], args[1]) : 0, object, "add", args,
                    count, names);
}

static PyObject *HeaderMap_replace(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                   PyObject *names) {
    int simple = count == 2 && names == NULL;
    return map_done(simple ? map_replace((HeaderMap *)object, args[0], args[1]) : 0, object,
                    "replace", args, count, names);
}

static PyObject *HeaderMap_remove(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                  PyObject *names) {
    int simple = count == 1 && names == NULL;
    return map_done(simple ? map_remove((HeaderMap *)object, args[0]) : 0, object, "remove", args,
                    count, names);
}

static PyObject *HeaderMap_set_pairs(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                     PyObject *names) {
    int simple = count == 1 && names == NULL;
    return map_done(simple ? map_set_pairs((HeaderMap *)object, args[0]) : 0, object, "set_pairs",
                    args, count, names);
}

static PyObject *HeaderMap_byte_size(PyObject *object, void *Py_UNUSED(closure)) {
    Py_ssize_t sum = map_bytes((HeaderMap *)object);
    return sum == STRANGE ? map_in_python(object, "byte_size", NULL, 0, NULL)
                          : PyLong_FromSsize_t(sum);
}

static PyObject *HeaderMap_repr(PyObject *object) {
    return is_simple((HeaderMap *)object)
               ? PyUnicode_FromFormat("HeaderMap(%R)", ((HeaderMap *)object)->pairs)
               : map_in_python(object, "__repr__", NULL, 0, NULL);
}

static Py_ssize_t HeaderMap_length(PyObject *object) {
    if (is_simple((HeaderMap *)object))
        return PyList_GET_SIZE(((HeaderMap *)object)->pairs);
    PyObject *answer = map_in_python(object, "__len__", NULL, 0, NULL);
    Py_ssize_t length = answer == NULL ? -1 : PyLong_AsSsize_t(answer);
    Py_XDECREF(answer);
    return length;
}

static PyObject *HeaderMap_make(PyTypeObject *type, PyObject *pairs) {
    PyObject *list = pairs == NULL ? PyList_New(0) : PySequence_List(pairs);
    HeaderMap *self = list == NULL ? NULL : (HeaderMap *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(list);
        return NULL;
    }
    self->pairs = list;
    return (PyObject *)self;
}

static PyObject *HeaderMap_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"pairs", NULL};
    PyObject *pairs = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:HeaderMap", names, &pairs))
        return NULL;
    return HeaderMap_make(type, pairs);
}

static PyObject *HeaderMap_call(PyObject *type, PyObject *const *args, size_t flags,
                                PyObject *names) {
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    if (count <= 1 && (names == NULL || PyTuple_GET_SIZE(names) == 0))
        return HeaderMap_make((PyTypeObject *)type, count == 1 ? args[0] : NULL);
    PyObject *positional = PyTuple_New(count), *named = PyDict_New(), *made = NULL;
    int status = positional == NULL || named == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
        Py_INCREF(args[i]);
        PyTuple_SET_ITEM(positional, i, args[i]);
    }
    for (Py_ssize_t i = 0; status == 0 && names != NULL && i < PyTuple_GET_SIZE(names); i++)
        status = PyDict_SetItem(named, PyTuple_GET_ITEM(names, i), args[count + i]);
    if (status == 0)
        made = HeaderMap_new((PyTypeObject *)type, positional, named);
    Py_XDECREF(positional);
    Py_XDECREF(named);
    return made;
}

static void HeaderMap_dealloc(PyObject *object) {
    Py_XDECREF(((HeaderMap *)object)->pairs);
    Py_TYPE(object)->tp_free(object);
}

#define METHOD(name)                                                                                \
    {#name, (PyCFunction)(void (*)(void))HeaderMap_##name, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef HeaderMap_methods[] = {
    METHOD(get), METHOD(add), METHOD(replace), METHOD(remove), METHOD(set_pairs), {NULL, NULL, 0, NULL},
};

static PyMemberDef HeaderMap_members[] = {
    {"pairs", T_OBJECT_EX, offsetof(HeaderMap, pairs), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef HeaderMap_properties[] = {
    {"byte_size", HeaderMap_byte_size, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods HeaderMap_sequence = {.sq_length = HeaderMap_length};

static PyTypeObject HeaderMap_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "anywasm.abi._hostcall.HeaderMap",
    .tp_doc = "See anywasm.abi.headers.HeaderMap.",
    .tp_basicsize = sizeof(HeaderMap),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = HeaderMap_new,
    .tp_vectorcall = HeaderMap_call,
    .tp_dealloc = HeaderMap_dealloc,
    .tp_repr = HeaderMap_repr,
    .tp_as_sequence = &HeaderMap_sequence,
    .tp_methods = HeaderMap_methods,
    .tp_members = HeaderMap_members,
    .tp_getset = HeaderMap_properties,
};

#endif
