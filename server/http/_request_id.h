/* The ids of requests that come without one: as anywasm.server.http.request_id. */

#ifndef ANYWASM_REQUEST_ID_H
#define ANYWASM_REQUEST_ID_H

#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/random.h>

/* Random bytes of the kernel for several ids at a time: a call for each would cost more than all else.
 * A forked child must not hand out its parent's. */
static unsigned char id_bytes[1024];
static size_t id_bytes_left;

static void forget_id_bytes(void) {
    id_bytes_left = 0;
}

static int watch_id_bytes(void) {
    if (pthread_atfork(NULL, NULL, forget_id_bytes) == 0)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static const unsigned char *take_id_bytes(void) {
    if (id_bytes_left == 0) {
        size_t have = 0;
        while (have < sizeof id_bytes) {
            ssize_t more = getrandom(id_bytes + have, sizeof id_bytes - have, 0);
            if (more < 0)
                return NULL;
            have += (size_t)more;
        }
        id_bytes_left = sizeof id_bytes;
    }
    id_bytes_left -= 16;
    return id_bytes + id_bytes_left;
}

static PyObject *request_id(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args)) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = take_id_bytes();
    if (bytes == NULL)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *id = PyBytes_FromStringAndSize(NULL, 36);
    if (id == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(id);
    for (int i = 0; i < 16; i++) {
        /* RFC 9562: version 4, and the variant */
        unsigned byte = i == 6 ? 0x40 | (bytes[6] & 0x0f) : i == 8 ? 0x80 | (bytes[8] & 0x3f) : bytes[i];
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = digits[byte >> 4];
        *to++ = digits[byte & 15];
    }
    return id;
}

#endif
