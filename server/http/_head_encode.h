/* `encode_head` of anywasm.server.http.head: the same bytes. Whatever is not usual, and so every error, is left
 * to that. */

#ifndef ANYWASM_HEAD_ENCODE_H
#define ANYWASM_HEAD_ENCODE_H

#include "../../core/_slots.h"
#include "_head_fields.h"

static PyObject *head_in_python, *status_lines, *no_bytes;
static PyTypeObject *request_type, *state_type;

/* What a head depends on beside its headers. */
enum { METHOD, VERSION, KEEP_ALIVE, RECEIVED, DRAINING, DATE_LINE, SERVER_LINE, DEFAULT_LINES, ATTRIBUTES };
static const char *const attribute_names[ATTRIBUTES] = {
    "method", "http_version", "keep_alive", "received", "draining", "date_line", "server_line", "default_lines",
};
static Attribute attributes[ATTRIBUTES];

/* As in anywasm.server.http.head. */
enum { NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE };

/* 1 or 0 for True or False, -1 for anything else. */
static inline int truth(PyObject *value) {
    return value == Py_True ? 1 : value == Py_False ? 0 : -1;
}

typedef struct {
    Fields fields;
    PyObject *attributes[ATTRIBUTES]; /* owned */
    PyObject *line, *first, *second;  /* the status line; the defaults, borrowed */
    char coding[64];                  /* a length of 20 digits fits */
    Py_ssize_t coding_size;
    int framing, close;
    long long remaining;
} Response;

/* Takes hold of the attributes; 0 if one is missing. */
static int take_attributes(Response *response, PyObject *request, PyObject *shared) {
    for (int i = 0; i < ATTRIBUTES; i++) {
        PyObject *value = attribute_of(&attributes[i], i < DRAINING ? request : shared);
        if (value == NULL)
            return 0;
        response->attributes[i] = value;
    }
    return 1;
}

static void add_coding(Response *response, const char *text) {
    size_t size = strlen(text);
    memcpy(response->coding + response->coding_size, text, size);
    response->coding_size += (Py_ssize_t)size;
}

/* How the body is framed; 0 if Python has to see to it. */
static int frame(Response *response, long status, long long length) {
    PyObject *method = response->attributes[METHOD], *version_asked = response->attributes[VERSION];
    /* Clients of 1.0 are few. */
    if (!PyBytes_CheckExact(method) || !PyUnicode_CheckExact(version_asked) ||
        PyUnicode_CompareWithASCIIString(version_asked, "1.1") != 0)
        return 0;
    int sized = 0;
    response->framing = LENGTH;
    if (status == 204 || status == 304 ||
        (PyBytes_GET_SIZE(method) == 4 && memcmp(PyBytes_AS_STRING(method), "HEAD", 4) == 0)) {
        response->framing = NO_BODY;
        sized = length > 0 && status != 204 && response->fields.length < 0;
    } else if (response->fields.length < 0 && length >= 0) {
        response->fields.length = length;
        sized = 1;
    } else if (response->fields.length < 0) {
        response->framing = CHUNKED;
        add_coding(response, "transfer-encoding: chunked\r\n");
    }
    if (sized)
        response->coding_size = sprintf(response->coding, "content-length: %lld\r\n", length);
    response->remaining = response->fields.length < 0 ? 0 : response->fields.length;
    return 1;
}

/* Whether the connection ends with this response; 0 if Python has to see to it. */
static int judge_end(Response *response, long long length) {
    int keep_alive = truth(response->attributes[KEEP_ALIVE]);
    int received = truth(response->attributes[RECEIVED]);
    int draining = truth(response->attributes[DRAINING]);
    if (keep_alive < 0 || received < 0 || draining < 0)
        return 0;
    response->close = !keep_alive || draining || (length >= 0 && !received);
    if (response->close)
        add_coding(response, "connection: close\r\n");
    return 1;
}

/* The `date` and the `server` that the caller's headers lack; 0 if Python has to see to it. */
static int add_defaults(Response *response) {
    int dated = response->fields.dated, named = response->fields.named;
    response->first = response->second = no_bytes;
    if (!dated && !named) {
        response->first = response->attributes[DEFAULT_LINES];
    } else {
        if (!dated)
            response->first = response->attributes[DATE_LINE];
        if (!named)
            response->second = response->attributes[SERVER_LINE];
    }
    return PyBytes_CheckExact(response->first) && PyBytes_CheckExact(response->second);
}

static int judge_head(PyObject *const *args, Response *response) {
    long long length = -1;
    if (!PyObject_TypeCheck(args[0], request_type) || !Py_IS_TYPE(args[4], state_type) ||
        !PyLong_CheckExact(args[1]) || !take_attributes(response, args[0], args[4]))
        return 0;
    response->line = PyDict_GetItemWithError(status_lines, args[1]); /* so it is 200 to 999 */
    if (response->line == NULL || !PyBytes_CheckExact(response->line))
        return 0;
    if (args[3] != Py_None) {
        int overflow = 0;
        length = PyLong_CheckExact(args[3]) ? PyLong_AsLongLongAndOverflow(args[3], &overflow) : -1;
        if (length < 0)
            return 0;
    }
    long status = PyLong_AsLong(args[1]);
    response->coding_size = 0;
    return measure(args[2], status != 204, &response->fields) && frame(response, status, length) &&
           judge_end(response, length) && add_defaults(response);
}

/* The head as `encode_head` returns it. */
static PyObject *make_response(const Response *response) {
    Py_ssize_t size = PyBytes_GET_SIZE(response->line) + response->fields.size + response->coding_size +
                      PyBytes_GET_SIZE(response->first) + PyBytes_GET_SIZE(response->second) + 2;
    PyObject *head = PyBytes_FromStringAndSize(NULL, size);
    if (head == NULL)
        return NULL;
    char *to = put_bytes(PyBytes_AS_STRING(head), response->line);
    to = write_fields(to, &response->fields);
    to = put_bytes(put_bytes(to, response->first), response->second);
    put(put(to, response->coding, response->coding_size), "\r\n", 2);
    PyObject *close = response->close ? Py_True : Py_False;
    PyObject *framing = PyLong_FromLong(response->framing);
    PyObject *remaining = PyLong_FromLongLong(response->remaining);
    PyObject *answer = framing == NULL || remaining == NULL
                           ? NULL
                           : PyTuple_Pack(4, head, framing, remaining, close);
    Py_DECREF(head);
    Py_XDECREF(framing);
    Py_XDECREF(remaining);
    return answer;
}

static PyObject *encode_head(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count,
                             PyObject *names) {
    Response response;
    PyObject *made = NULL;
    int usual = count == 5 && names == NULL;
    if (usual) {
        memset(response.attributes, 0, sizeof response.attributes);
        usual = judge_head(args, &response);
        if (usual)
            made = make_response(&response);
        for (int i = 0; i < ATTRIBUTES; i++)
            Py_XDECREF(response.attributes[i]);
    }
    if (usual)
        return made;
    PyErr_Clear(); /* Python meets it again */
    return PyObject_Vectorcall(head_in_python, args, (size_t)count, names);
}

static int encode_find(void) {
    for (int i = 0; i < ATTRIBUTES; i++)
        if (attribute_find(&attributes[i], i < DRAINING ? request_type : state_type, attribute_names[i]) < 0)
            return -1;
    no_bytes = PyBytes_FromStringAndSize(NULL, 0);
    return no_bytes == NULL ? -1 : 0;
}

#endif
