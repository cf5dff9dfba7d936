/* Heads of requests to upstreams written, and of their responses read, in C: optional, and equal to what the
 * modules head and plain of anywasm.server.upstream do in Python. All of it runs with the GIL held, which
 * guards the names that are known. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_head_encode.h"
#include "_head_parse.h"

static PyMethodDef functions[] = {
    {"parse_plain", (PyCFunction)(void (*)(void))parse_plain, METH_FASTCALL,
     "As `anywasm.server.upstream.plain.parse_plain`."},
    {"encode_request_head", (PyCFunction)(void (*)(void))encode_request_head, METH_FASTCALL,
     "As `anywasm.server.upstream.head.encode_request_head`."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "anywasm.server.upstream._head",
    .m_doc = "Heads of requests to upstreams, and of their responses, in C.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__head(void) {
    text_find();
    if (names_find() < 0 || encode_find() < 0)
        return NULL;
    return PyModule_Create(&definition);
}
