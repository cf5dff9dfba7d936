/* `parse_plain` of anywasm.server.http.plain: the same requests, with the same result. A request is looked at
 * to its end before anything is made of it, so that what is refused costs a look and no more. */

#ifndef ANYWASM_HEAD_PARSE_H
#define ANYWASM_HEAD_PARSE_H

#include "_head_scan.h"

typedef struct {
    PyObject *method; /* borrowed */
    const char *target, *body;
    Py_ssize_t target_size, body_size; /* declared; -1 if it is not */
    Py_ssize_t hosts, count;
    Field fields[MOST_FIELDS]; /* so many of them are set */
} Head;

static const char *const method_names[] = {"GET ", "POST ", "HEAD ", "DELETE ", "OPTIONS "};
#define METHODS (sizeof method_names / sizeof *method_names)
static PyObject *methods[METHODS];

static int methods_find(void) {
    for (size_t i = 0; i < METHODS; i++) {
        Py_ssize_t size = (Py_ssize_t)strlen(method_names[i]) - 1;
        if ((methods[i] = PyBytes_FromStringAndSize(method_names[i], size)) == NULL)
            return -1;
    }
    return 0;
}

/* Behind the request line; NULL if it is not plain. */
static const char *scan_line(const char *at, const char *end, Head *head) {
    size_t method = 0;
    while (!starts(at, end, method_names[method], (Py_ssize_t)strlen(method_names[method])))
        if (++method == METHODS)
            return NULL;
    at += strlen(method_names[method]);
    head->method = methods[method];
    head->target = at;
    if (at == end || *at != '/')
        return NULL;
    while (at < end && *at > ' ' && *at < 0x7f && *at != '#') /* `char` may be signed: no 0x80 either way */
        at++;
    head->target_size = at - head->target;
    static const char rest[] = " HTTP/1.1\r\n";
    return starts(at, end, rest, sizeof rest - 1) ? at + sizeof rest - 1 : NULL;
}

/* Whether a header lets the request be plain. Of those that mean something there are no unusual spellings. */
static int judge(Field *field, Head *head) {
    if (!know(field))
        return 1;
    switch (field->known->kind) {
    case HOST:
        head->hosts++;
        return memcmp(field->name + 1, "ost", 3) == 0;
    case CONNECTION:
        return memcmp(field->name + 1, "onnection", 9) == 0 && field->value - field->name == 12 &&
               field->value_size == 10 && memcmp(field->value, "keep-alive", 10) == 0;
    case CONTENT_LENGTH:
        if (head->body_size >= 0 || (memcmp(field->name, "Content-Length", 14) != 0 &&
                                     memcmp(field->name, "content-length", 14) != 0))
            return 0;
        head->body_size = (Py_ssize_t)decimal(field->value, field->value_size);
        return head->body_size >= 0;
    case RARE:
        return 0;
    }
    return 1;
}

static int scan(const char *at, const char *end, long most, Head *head) {
    head->hosts = head->count = 0;
    head->body_size = -1;
    at = scan_line(at, end, head);
    while (at != NULL && !starts(at, end, "\r\n", 2)) {
        if (head->count >= most)
            return 0;
        Field *field = &head->fields[head->count++];
        at = scan_field(at, end, field);
        if (at != NULL && !judge(field, head))
            return 0;
    }
    if (at == NULL || head->hosts != 1)
        return 0;
    head->body = at + 2;
    return end - head->body == (head->body_size < 0 ? 0 : head->body_size);
}


static PyObject *make_head(const Head *head) {
    PyObject *made = PyTuple_New(4), *headers = PyList_New(head->count);
    PyObject *target = PyBytes_FromStringAndSize(head->target, head->target_size), *body = Py_None;
    if (head->body_size < 0)
        Py_INCREF(body);
    else
        body = PyBytes_FromStringAndSize(head->body, head->body_size);
    for (Py_ssize_t i = 0; headers != NULL && i < head->count; i++) {
        PyObject *field = make_field(&head->fields[i]);
        if (field == NULL)
            Py_CLEAR(headers);
        else
            PyList_SET_ITEM(headers, i, field);
    }
    if (made == NULL || headers == NULL || target == NULL || body == NULL) {
        Py_XDECREF(made);
        Py_XDECREF(headers);
        Py_XDECREF(target);
        Py_XDECREF(body);
        return NULL;
    }
    Py_INCREF(head->method);
    PyTuple_SET_ITEM(made, 0, head->method);
    PyTuple_SET_ITEM(made, 1, target);
    PyTuple_SET_ITEM(made, 2, headers);
    PyTuple_SET_ITEM(made, 3, body);
    return made;
}

static PyObject *parse_plain(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "parse_plain takes bytes and a number");
        return NULL;
    }
    int overflow;
    long most = PyLong_AsLongAndOverflow(args[1], &overflow);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    if (overflow > 0 || most > MOST_FIELDS)
        most = MOST_FIELDS;
    const char *data = PyBytes_AS_STRING(args[0]);
    Head head;
    head.method = NULL;
    head.target = NULL;
    head.target_size = 0;
    if (!scan(data, data + PyBytes_GET_SIZE(args[0]), most, &head))
        Py_RETURN_NONE;
    return make_head(&head);
}

#endif
