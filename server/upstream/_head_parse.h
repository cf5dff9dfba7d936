/* `parse_plain` of anywasm.server.upstream.plain: the same responses, with the same result. A head is looked at
 * to its end before anything is made of it, so that what is refused costs a look and no more. */

#ifndef ANYWASM_UPSTREAM_HEAD_PARSE_H
#define ANYWASM_UPSTREAM_HEAD_PARSE_H

#include "../http/_head_scan.h"

#define MOST_DIGITS 9

typedef struct {
    long status;
    Py_ssize_t count, length; /* of the body, or -1 */
    Field fields[MOST_FIELDS];
} Head;

static inline int is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Behind the status line; NULL if it is not plain. */
static const char *scan_line(const char *at, const char *end, Head *head) {
    if (end - at < 15 || memcmp(at, "HTTP/1.1 ", 9) != 0 || at[9] < '2' || at[9] > '5' || !is_digit(at[10]) ||
        !is_digit(at[11]) || at[12] != ' ')
        return NULL;
    head->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    if (head->status == 204 || head->status == 304)
        return NULL; /* these have no body, whatever their length says */
    at += 13;
    while (at < end && *at >= ' ' && *at < 0x7f) /* `char` may be signed: no 0x80 either way */
        at++;
    return starts(at, end, "\r\n", 2) ? at + 2 : NULL;
}

/* Whether a length is one, and the first; notes it. */
static int judge_length(const Field *field, Head *head) {
    if (head->length >= 0 || field->value_size > MOST_DIGITS)
        return 0;
    head->length = (Py_ssize_t)decimal(field->value, field->value_size);
    return head->length >= 0;
}

/* Whether a header lets the response be plain. */
static int judge(Field *field, Head *head) {
    if (!know(field))
        return 1;
    switch (field->known->kind) {
    case CONNECTION:
        return field->value_size == 10 && memcmp(field->value, "keep-alive", 10) == 0;
    case CONTENT_LENGTH:
        return judge_length(field, head);
    case RARE: /* but for `expect`, which says nothing in a response */
        return field->name_size == 6;
    }
    return 1;
}

/* Where the body begins, which is all the rest; NULL if the response is not plain. */
static const char *scan(const char *at, const char *end, long most, Py_ssize_t most_bytes, Head *head) {
    const char *start = at;
    at = scan_line(at, end, head);
    while (at != NULL && !starts(at, end, "\r\n", 2)) {
        if (head->count >= most)
            return NULL;
        Field *field = &head->fields[head->count++];
        at = scan_field(at, end, field);
        if (at != NULL && !judge(field, head))
            return NULL;
    }
    if (at == NULL || at - start > most_bytes)
        return NULL;
    at += 2;
    return head->length == end - at ? at : NULL;
}

static PyObject *make_response(const Head *head, const char *body) {
    PyObject *headers = PyList_New(head->count);
    if (headers == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < head->count; i++) {
        PyObject *field = make_field(&head->fields[i]);
        if (field == NULL) {
            Py_DECREF(headers);
            return NULL;
        }
        PyList_SET_ITEM(headers, i, field);
    }
    return Py_BuildValue("lNy#", head->status, headers, body, head->length);
}

static PyObject *parse_plain(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 3 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "parse_plain takes bytes and two numbers");
        return NULL;
    }
    long most = PyLong_AsLong(args[1]);
    Py_ssize_t most_bytes = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (most > MOST_FIELDS)
        most = MOST_FIELDS;
    const char *data = PyBytes_AS_STRING(args[0]);
    Head head; /* of its fields only those that `scan` counts are set */
    head.status = 0;
    head.count = 0;
    head.length = -1;
    const char *body = scan(data, data + PyBytes_GET_SIZE(args[0]), most, most_bytes, &head);
    if (body == NULL)
        Py_RETURN_NONE;
    return make_response(&head, body);
}

#endif
