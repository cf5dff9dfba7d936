/* Heads of HTTP messages, read and written in C: optional, and equal to what the modules plain, fields and head
 * of anywasm.server.http do in Python. All of it runs with the GIL held, which guards the names that are
 * known. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_head_encode.h"
#include "_head_parse.h"
#include "_request_map.h"

static int find_python(void) {
    request_type = (PyTypeObject *)import_from("anywasm.server.http.request", "Request");
    state_type = (PyTypeObject *)import_from("anywasm.server.http.state", "ListenerState");
    status_lines = import_from("anywasm.server.http.fields", "STATUS_LINES");
    fields_in_python = import_from("anywasm.server.http.fields", "encode_fields");
    head_in_python = import_from("anywasm.server.http.head", "encode_head");
    wire_in_python = import_from("anywasm.server.http.wire", "wire_fields");
    length_in_python = import_from("anywasm.server.http.wire", "declared_length");
    map_in_python = import_from("anywasm.server.http.request_map", "request_pairs");
    if (wire_in_python == NULL || length_in_python == NULL || map_in_python == NULL)
        return -1;
    if (request_type == NULL || state_type == NULL || status_lines == NULL || fields_in_python == NULL ||
        head_in_python == NULL)
        return -1;
    return encode_find();
}

static PyMethodDef functions[] = {
    {"parse_plain", (PyCFunction)(void (*)(void))parse_plain, METH_FASTCALL,
     "As `anywasm.server.http.plain.parse_plain`."},
    {"encode_fields", (PyCFunction)(void (*)(void))encode_fields, METH_FASTCALL | METH_KEYWORDS,
     "As `anywasm.server.http.fields.encode_fields`."},
    {"encode_head", (PyCFunction)(void (*)(void))encode_head, METH_FASTCALL | METH_KEYWORDS,
     "As `anywasm.server.http.head.encode_head`."},
    {"declared_length", declared_length, METH_O, "As `anywasm.server.http.wire.declared_length`."},
    {"wire_fields", (PyCFunction)(void (*)(void))wire_fields, METH_FASTCALL,
     "As `anywasm.server.http.wire.wire_fields`."},
    {"request_pairs", (PyCFunction)(void (*)(void))request_pairs, METH_FASTCALL,
     "As `anywasm.server.http.request_map.request_pairs`."},
    {"request_id", request_id, METH_NOARGS, "As `anywasm.server.http.request_id.request_id`."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "anywasm.server.http._head",
    .m_doc = "Heads of HTTP messages in C.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__head(void) {
    text_find();
    if (names_find() < 0 || methods_find() < 0 || find_python() < 0 ||
        watch_id_bytes() < 0 || request_map_find() < 0)
        return NULL;
    return PyModule_Create(&definition);
}
