/* This package's Python classes, as C finds them, and their slots, which it reads and writes in place:
 * where these are, the classes' own slot descriptors state. */

#ifndef ANYWASM_SLOTS_H
#define ANYWASM_SLOTS_H

#include <Python.h>
#include <structmember.h>

/* The value of a slot, borrowed; NULL when it was never set. */
static inline PyObject *slot_at(PyObject *object, Py_ssize_t offset) {
    return *(PyObject **)((char *)object + offset);
}

/* Where a class keeps one of its `__slots__`, or -1 with an exception. */
static Py_ssize_t slot_offset(PyObject *cls, const char *name) {
    PyObject *descriptor = PyObject_GetAttrString(cls, name);
    if (descriptor == NULL)
        return -1;
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    else
        PyErr_Format(PyExc_ImportError, "%R has no slot %s", cls, name);
    Py_DECREF(descriptor);
    return offset;
}

/* A name of a module, or NULL with an exception. */
static inline PyObject *import_from(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name), *value = NULL;
    if (module != NULL)
        value = PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return value;
}

/* How an attribute is read that all instances of a class have: as a slot, or where the class is compiled,
 * and so has none, by the function behind its descriptor. */
typedef struct {
    PyObject *name;
    Py_ssize_t offset; /* of the slot; 0 where there is none */
    getter get;        /* NULL where it is neither */
    void *closure;
} Attribute;

/* Finds out how; 0, or -1 with an exception. */
static inline int attribute_find(Attribute *attribute, PyTypeObject *cls, const char *name) {
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)cls, name);
    attribute->name = PyUnicode_InternFromString(name);
    if (descriptor == NULL || attribute->name == NULL) {
        Py_XDECREF(descriptor);
        return -1;
    }
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        attribute->offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    } else if (Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)) {
        attribute->get = ((PyGetSetDescrObject *)descriptor)->d_getset->get;
        attribute->closure = ((PyGetSetDescrObject *)descriptor)->d_getset->closure;
    }
    Py_DECREF(descriptor); /* the class keeps it */
    return 0;
}

/* Its value in an instance of the class; NULL, maybe with an exception, where it was never set. */
static inline PyObject *attribute_of(const Attribute *attribute, PyObject *object) {
    if (attribute->offset > 0) {
        PyObject *value = slot_at(object, attribute->offset);
        Py_XINCREF(value);
        return value;
    }
    return attribute->get != NULL ? attribute->get(object, attribute->closure)
                                  : PyObject_GetAttr(object, attribute->name);
}

/* Where slots are to be noted; a list of them ends with NULL. */
typedef struct {
    Py_ssize_t *at;
    PyTypeObject *cls;
    const char *name;
} Place;

/* Finds all of them; 0, or -1 with an exception. */
static inline int find_places(const Place *places) {
    for (; places->at != NULL; places++)
        if ((*places->at = slot_offset((PyObject *)places->cls, places->name)) < 0)
            return -1;
    return 0;
}

#endif
