/* proxywasm.h: proxy-wasm filters and functions in C11 or C++, in one file, without a libc.
 *
 * Define the callbacks you need (declared below under "Callbacks", exported by that declaration),
 * call the host through the pw_* wrappers or the raw proxy_* imports, and compile for wasm32. What
 * is not used is not in the module. Build: python -m anywasm.sdk.build FILE.c
 *
 * Ownership: a pw_str that a function fills through a pointer belongs to the guest, which ends its
 * life with pw_free(str.data); after a failure it is empty and freeing it is harmless. Strings that
 * are passed in are only read. Sizes are bytes; strings are not NUL-terminated.
 */
#ifndef PROXYWASM_H
#define PROXYWASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The ABI the module declares; define it before the include for another one (0_2_0, 0_2_100). */
#ifndef PW_ABI_VERSION
#define PW_ABI_VERSION 0_2_1
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PW_EXPORT(name) __attribute__((export_name(#name), visibility("default")))
#define PW_IMPORT(name) __attribute__((import_module("env"), import_name(#name))) pw_status name
/* Weak: all files of a guest that include this header share one allocator and one marker. */
#define PW_SHARED __attribute__((weak))

/* --- Types (proxy-wasm specification 0.2.1, "Types") ------------------------------------------ */

typedef struct pw_str {
    const char *data;
    uint32_t size;
} pw_str;

typedef struct pw_pair {
    pw_str key, value;
} pw_pair;

typedef enum {
    PW_OK = 0, PW_NOT_FOUND = 1, PW_BAD_ARGUMENT = 2, PW_SERIALIZATION_FAILURE = 3,
    PW_PARSE_FAILURE = 4, PW_INVALID_MEMORY_ACCESS = 6, PW_EMPTY = 7, PW_CAS_MISMATCH = 8,
    PW_INTERNAL_FAILURE = 10, PW_UNIMPLEMENTED = 12
} pw_status;

typedef enum { PW_CONTINUE = 0, PW_PAUSE = 1 } pw_action;

typedef enum {
    PW_LOG_TRACE, PW_LOG_DEBUG, PW_LOG_INFO, PW_LOG_WARN, PW_LOG_ERROR, PW_LOG_CRITICAL
} pw_log_level;

typedef enum {
    PW_REQUEST_BODY, PW_RESPONSE_BODY, PW_DOWNSTREAM_DATA, PW_UPSTREAM_DATA, PW_CALL_RESPONSE_BODY,
    PW_GRPC_MESSAGE, PW_VM_CONFIGURATION, PW_PLUGIN_CONFIGURATION, PW_CALL_DATA
} pw_buffer;

typedef enum {
    PW_REQUEST_HEADERS, PW_REQUEST_TRAILERS, PW_RESPONSE_HEADERS, PW_RESPONSE_TRAILERS,
    PW_GRPC_INITIAL_METADATA, PW_GRPC_TRAILING_METADATA, PW_CALL_RESPONSE_HEADERS,
    PW_CALL_RESPONSE_TRAILERS
} pw_map;

typedef enum { PW_STREAM_REQUEST, PW_STREAM_RESPONSE, PW_STREAM_DOWN, PW_STREAM_UP } pw_stream;
typedef enum { PW_METRIC_COUNTER, PW_METRIC_GAUGE, PW_METRIC_HISTOGRAM } pw_metric;
typedef enum { PW_PEER_UNKNOWN, PW_PEER_LOCAL, PW_PEER_REMOTE } pw_peer;

#define PW_NO_GRPC_STATUS (-1)
/* "To the end" where the ABI wants a length; larger values overflow in some hosts. */
#define PW_ALL 0x7fffffffu

/* --- Host functions --------------------------------------------------------------------------- */

#define PW_IN(name) const char *name, uint32_t name##_size
#define PW_OUT(name) const char **name, uint32_t *name##_size

PW_IMPORT(proxy_log)(pw_log_level level, PW_IN(message));
PW_IMPORT(proxy_get_log_level)(uint32_t *level);
PW_IMPORT(proxy_get_current_time_nanoseconds)(uint64_t *time);
PW_IMPORT(proxy_set_tick_period_milliseconds)(uint32_t period);
PW_IMPORT(proxy_get_buffer_bytes)(pw_buffer buffer, uint32_t start, uint32_t max, PW_OUT(bytes));
PW_IMPORT(proxy_get_buffer_status)(pw_buffer buffer, uint32_t *size, uint32_t *flags);
PW_IMPORT(proxy_set_buffer_bytes)(pw_buffer buffer, uint32_t start, uint32_t size, PW_IN(bytes));
PW_IMPORT(proxy_get_header_map_size)(pw_map map, uint32_t *size);
PW_IMPORT(proxy_get_header_map_pairs)(pw_map map, PW_OUT(pairs));
PW_IMPORT(proxy_set_header_map_pairs)(pw_map map, PW_IN(pairs));
PW_IMPORT(proxy_get_header_map_value)(pw_map map, PW_IN(key), PW_OUT(value));
PW_IMPORT(proxy_add_header_map_value)(pw_map map, PW_IN(key), PW_IN(value));
PW_IMPORT(proxy_replace_header_map_value)(pw_map map, PW_IN(key), PW_IN(value));
PW_IMPORT(proxy_remove_header_map_value)(pw_map map, PW_IN(key));
PW_IMPORT(proxy_get_status)(uint32_t *code, PW_OUT(message));
PW_IMPORT(proxy_send_local_response)(uint32_t code, PW_IN(details), PW_IN(body), PW_IN(headers),
                                     int32_t grpc_status);
PW_IMPORT(proxy_continue_stream)(pw_stream stream);
PW_IMPORT(proxy_close_stream)(pw_stream stream);
PW_IMPORT(proxy_http_call)(PW_IN(upstream), PW_IN(headers), PW_IN(body), PW_IN(trailers),
                           uint32_t timeout_milliseconds, uint32_t *call);
PW_IMPORT(proxy_grpc_call)(PW_IN(upstream), PW_IN(service), PW_IN(method), PW_IN(metadata),
                           PW_IN(message), uint32_t timeout_milliseconds, uint32_t *call);
PW_IMPORT(proxy_grpc_stream)(PW_IN(upstream), PW_IN(service), PW_IN(method), PW_IN(metadata),
                             uint32_t *call);
PW_IMPORT(proxy_grpc_send)(uint32_t call, PW_IN(message), uint32_t end_of_stream);
PW_IMPORT(proxy_grpc_cancel)(uint32_t call);
PW_IMPORT(proxy_grpc_close)(uint32_t call);
PW_IMPORT(proxy_set_shared_data)(PW_IN(key), PW_IN(value), uint32_t cas);
PW_IMPORT(proxy_get_shared_data)(PW_IN(key), PW_OUT(value), uint32_t *cas);
PW_IMPORT(proxy_register_shared_queue)(PW_IN(name), uint32_t *queue);
PW_IMPORT(proxy_resolve_shared_queue)(PW_IN(vm), PW_IN(name), uint32_t *queue);
PW_IMPORT(proxy_enqueue_shared_queue)(uint32_t queue, PW_IN(value));
PW_IMPORT(proxy_dequeue_shared_queue)(uint32_t queue, PW_OUT(value));
PW_IMPORT(proxy_define_metric)(pw_metric kind, PW_IN(name), uint32_t *metric);
PW_IMPORT(proxy_record_metric)(uint32_t metric, uint64_t value);
PW_IMPORT(proxy_increment_metric)(uint32_t metric, int64_t delta);
PW_IMPORT(proxy_get_metric)(uint32_t metric, uint64_t *value);
PW_IMPORT(proxy_get_property)(PW_IN(path), PW_OUT(value));
PW_IMPORT(proxy_set_property)(PW_IN(path), PW_IN(value));
PW_IMPORT(proxy_call_foreign_function)(PW_IN(name), PW_IN(arguments), PW_OUT(result));
PW_IMPORT(proxy_set_effective_context)(uint32_t context);
PW_IMPORT(proxy_done)(void);
/* Layotto's extension: another function by its id, and a key of a named state store. */
PW_IMPORT(proxy_invoke_service)(PW_IN(id), PW_IN(method), PW_IN(parameter), PW_OUT(result));
PW_IMPORT(proxy_get_state)(PW_IN(store), PW_IN(key), PW_OUT(value));

/* --- Callbacks: define those you need, with exactly these types ------------------------------- */

#define PW_ON(type, name) PW_EXPORT(name) type name

PW_ON(void, proxy_on_context_create)(uint32_t context, uint32_t parent);
PW_ON(bool, proxy_on_vm_start)(uint32_t context, uint32_t configuration_size);
PW_ON(bool, proxy_on_configure)(uint32_t context, uint32_t configuration_size);
PW_ON(void, proxy_on_tick)(uint32_t context);
PW_ON(pw_action, proxy_on_request_headers)(uint32_t context, uint32_t count, bool end_of_stream);
PW_ON(pw_action, proxy_on_request_body)(uint32_t context, uint32_t size, bool end_of_stream);
PW_ON(pw_action, proxy_on_request_trailers)(uint32_t context, uint32_t count);
PW_ON(pw_action, proxy_on_response_headers)(uint32_t context, uint32_t count, bool end_of_stream);
PW_ON(pw_action, proxy_on_response_body)(uint32_t context, uint32_t size, bool end_of_stream);
PW_ON(pw_action, proxy_on_response_trailers)(uint32_t context, uint32_t count);
PW_ON(pw_action, proxy_on_new_connection)(uint32_t context);
PW_ON(pw_action, proxy_on_downstream_data)(uint32_t context, uint32_t size, bool end_of_stream);
PW_ON(pw_action, proxy_on_upstream_data)(uint32_t context, uint32_t size, bool end_of_stream);
PW_ON(void, proxy_on_downstream_connection_close)(uint32_t context, pw_peer peer);
PW_ON(void, proxy_on_upstream_connection_close)(uint32_t context, pw_peer peer);
PW_ON(void, proxy_on_http_call_response)(uint32_t context, uint32_t call, uint32_t header_count,
                                         uint32_t body_size, uint32_t trailer_count);
PW_ON(void, proxy_on_grpc_receive_initial_metadata)(uint32_t context, uint32_t call, uint32_t n);
PW_ON(void, proxy_on_grpc_receive)(uint32_t context, uint32_t call, uint32_t size);
PW_ON(void, proxy_on_grpc_receive_trailing_metadata)(uint32_t context, uint32_t call, uint32_t n);
PW_ON(void, proxy_on_grpc_close)(uint32_t context, uint32_t call, uint32_t status);
PW_ON(void, proxy_on_queue_ready)(uint32_t context, uint32_t queue);
PW_ON(void, proxy_on_foreign_function)(uint32_t context, uint32_t function, uint32_t size);
PW_ON(bool, proxy_on_done)(uint32_t context);
PW_ON(void, proxy_on_log)(uint32_t context);
PW_ON(void, proxy_on_delete)(uint32_t context);
PW_ON(void, proxy_get_id)(void);

/* --- Memory ----------------------------------------------------------------------------------- *
 * A first-fit free list in address order that merges what touches. The host allocates in it at any
 * time and requests overlap, so blocks live and die one by one. A block of `size` bytes is an
 * 8-byte header and its payload; headers lie 8 bytes off a 16-byte boundary, payloads on one.   */

typedef struct pw_block {
    uint32_t size;
    struct pw_block *next; /* of a block in use: itself, which no block of the list can be */
} pw_block;

extern unsigned char __heap_base; /* the linker's: the first byte after data and stack */
PW_SHARED pw_block *pw_free_blocks;
PW_SHARED uintptr_t pw_heap_end;

PW_SHARED void pw_give(pw_block *block) {
    pw_block *before = NULL, *after = pw_free_blocks;
    for (; after && after < block; after = after->next) before = after;
    block->next = after;
    if (after && (char *)block + block->size == (char *)after) {
        block->size += after->size;
        block->next = after->next;
    }
    if (!before) {
        pw_free_blocks = block;
    } else if ((char *)before + before->size == (char *)block) {
        before->size += block->size;
        before->next = block->next;
    } else {
        before->next = block;
    }
}

PW_SHARED bool pw_grow(uint32_t need) {
    uintptr_t start, end;
    if (!pw_heap_end) { /* the first time: what the linker left of the initial pages */
        start = (((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15) + 8;
        end = (uintptr_t)(__builtin_wasm_memory_size(0) << 16) - 8;
    } else {
        size_t pages = (need + 16 + 65535) >> 16, old = __builtin_wasm_memory_grow(0, pages);
        if (old == SIZE_MAX) return false;
        /* The guest may have grown its memory by other means: join only what really touches. */
        start = (uintptr_t)(old << 16) - 8 == pw_heap_end ? pw_heap_end : (old << 16) + 8;
        end = (uintptr_t)((old + pages) << 16) - 8;
    }
    pw_heap_end = end > start ? end : start;
    if (end > start) {
        pw_block *block = (pw_block *)start;
        block->size = (uint32_t)(end - start);
        pw_give(block);
    }
    return true;
}

/* Returns `size` bytes aligned to 16, or NULL; also for size 0 it is memory of its own. */
PW_SHARED void *pw_alloc(uint32_t size) {
    if (size > PW_ALL) return NULL;
    uint32_t need = (size + (uint32_t)sizeof(pw_block) + 15) & ~15u;
    do {
        for (pw_block **link = &pw_free_blocks; *link; link = &(*link)->next) {
            pw_block *block = *link;
            if (block->size < need) continue;
            if (block->size > need) {
                pw_block *rest = (pw_block *)((char *)block + need);
                rest->size = block->size - need;
                rest->next = block->next;
                block->size = need;
                *link = rest;
            } else {
                *link = block->next;
            }
            block->next = block;
            return block + 1;
        }
    } while (pw_grow(need));
    return NULL;
}

/* Ends the life of what pw_alloc or the host gave; NULL is fine, a second free traps. */
PW_SHARED void pw_free(const void *memory) {
    if (!memory) return;
    pw_block *block = (pw_block *)(uintptr_t)memory - 1;
    if (block->next != block) __builtin_trap();
    pw_give(block);
}

/* --- What every module exports ---------------------------------------------------------------- */

#define PW_PASTE(a, b) a##b
#define PW_MARKER(version) PW_PASTE(proxy_abi_version_, version)
#define PW_EXPORT_EXPANDED(name) PW_EXPORT(name)
PW_EXPORT_EXPANDED(PW_MARKER(PW_ABI_VERSION)) PW_SHARED void PW_MARKER(PW_ABI_VERSION)(void) {}

PW_EXPORT(proxy_on_memory_allocate) PW_SHARED void *pw_on_memory_allocate(uint32_t size) {
    return pw_alloc(size);
}
/* Some hosts, Layotto and MOSN among them, know the allocator by this name only. */
PW_EXPORT(malloc) PW_SHARED void *pw_on_malloc(uint32_t size) { return pw_alloc(size); }

/* Without this export the linker would run C++ constructors anew on each call of each export. */
void __wasm_call_ctors(void);
PW_EXPORT(_initialize) PW_SHARED void pw_initialize(void) { __wasm_call_ctors(); }

/* --- Strings ---------------------------------------------------------------------------------- */

static inline pw_str pw_view(const char *data, uint32_t size) {
    pw_str view;
    view.data = data;
    view.size = size;
    return view;
}

#define PW_STR(literal) pw_view("" literal, sizeof(literal) - 1)
#define PW_ARG(string) (string).data, (string).size
#define PW_RESULT(out) (*(out) = pw_view(NULL, 0), &(out)->data), &(out)->size

static inline bool pw_equal(pw_str a, pw_str b) {
    if (a.size != b.size) return false;
    for (uint32_t i = 0; i < a.size; i++)
        if (a.data[i] != b.data[i]) return false;
    return true;
}

/* Writes the decimal digits of a number; the view points into `digits`. */
static inline pw_str pw_decimal(uint32_t number, char digits[10]) {
    uint32_t at = 10;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    return pw_view(digits + at, 10 - at);
}

/* Concatenates into memory of the caller. Fails only without memory: PW_INTERNAL_FAILURE. */
static inline pw_status pw_join(const pw_str *parts, uint32_t count, pw_str *out) {
    uint64_t size = 0;
    *out = pw_view(NULL, 0);
    for (uint32_t i = 0; i < count; i++) size += parts[i].size;
    char *to = size <= PW_ALL ? (char *)pw_alloc((uint32_t)size) : NULL;
    if (!to) return PW_INTERNAL_FAILURE;
    *out = pw_view(to, (uint32_t)size);
    for (uint32_t i = 0; i < count; to += parts[i++].size)
        __builtin_memcpy(to, parts[i].data, parts[i].size);
    return PW_OK;
}

/* The first value of a key in a pairs-encoded map (specification, "Serialized map"), which is the
 * form of Layotto's plugin configuration too. The value is a view into `pairs`, not to be freed. */
static inline bool pw_pairs_find(pw_str pairs, pw_str key, pw_str *value) {
    uint32_t count = 0, sizes[2];
    *value = pw_view(NULL, 0);
    if (pairs.size >= 4) __builtin_memcpy(&count, pairs.data, 4);
    /* Each pair takes two lengths and two NULs at least, so hostile counts end here. */
    if (!count || count > (pairs.size - 4) / 10) return false;
    const char *at = pairs.data + 4 + 8 * count, *end = pairs.data + pairs.size;
    for (uint32_t i = 0; i < count; i++) {
        __builtin_memcpy(sizes, pairs.data + 4 + 8 * i, 8);
        uint32_t left = (uint32_t)(end - at);
        if (sizes[0] >= left || sizes[1] >= left - sizes[0] - 1) return false;
        if (pw_equal(pw_view(at, sizes[0]), key)) {
            *value = pw_view(at + sizes[0] + 1, sizes[1]);
            return true;
        }
        at += sizes[0] + sizes[1] + 2;
    }
    return false;
}

/* Encodes headers or trailers as pairs, into memory of the caller. */
static inline pw_status pw_pairs_encode(const pw_pair *pairs, uint32_t count, pw_str *out) {
    uint64_t size = 4;
    *out = pw_view(NULL, 0);
    for (uint32_t i = 0; i < count; i++)
        size += (uint64_t)10 + pairs[i].key.size + pairs[i].value.size;
    char *data = size <= PW_ALL ? (char *)pw_alloc((uint32_t)size) : NULL;
    if (!data) return PW_INTERNAL_FAILURE;
    *out = pw_view(data, (uint32_t)size);
    char *text = data + 4 + 8 * count;
    __builtin_memcpy(data, &count, 4);
    for (uint32_t i = 0; i < count; i++) {
        const pw_str both[2] = {pairs[i].key, pairs[i].value};
        for (uint32_t side = 0; side < 2; side++) {
            __builtin_memcpy(data + 4 + 8 * i + 4 * side, &both[side].size, 4);
            __builtin_memcpy(text, both[side].data, both[side].size);
            text += both[side].size;
            *text++ = 0;
        }
    }
    return PW_OK;
}

static inline int pw_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes '+' and %XX; what is no valid escape stays as it is, as the URL standard has it. */
static inline pw_str pw_form_decode(pw_str text, char *to) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%' && text.size - i > 2) {
            int high = pw_hex_digit(text.data[i + 1]), low = pw_hex_digit(text.data[i + 2]);
            if (high >= 0 && low >= 0) {
                c = (char)(high * 16 + low);
                i += 2;
            }
        } else if (c == '+') {
            c = ' ';
        }
        to[size++] = c;
    }
    return pw_view(to, size);
}

/* The first value of a key in a query string or form body; PW_NOT_FOUND where it has none. */
static inline pw_status pw_form_get(pw_str form, pw_str key, pw_str *value) {
    char *scratch = (char *)pw_alloc(form.size);
    *value = pw_view(NULL, 0);
    if (!scratch) return PW_INTERNAL_FAILURE;
    for (uint32_t start = 0, end, equals; start < form.size; start = end + 1) {
        for (end = start; end < form.size && form.data[end] != '&';) end++;
        for (equals = start; equals < end && form.data[equals] != '=';) equals++;
        pw_str name = pw_view(form.data + start, equals - start);
        if (!pw_equal(pw_form_decode(name, scratch), key)) continue;
        if (equals < end) equals++;
        *value = pw_form_decode(pw_view(form.data + equals, end - equals), scratch);
        return PW_OK;
    }
    pw_free(scratch);
    return PW_NOT_FOUND;
}

/* --- The host, in terms of pw_str ------------------------------------------------------------- */

/* The function's id, as Layotto routes by it: asked for once, before the module is started. */
#define PW_ID(id) \
    void proxy_get_id(void) { pw_buffer_replace(PW_CALL_DATA, PW_STR(id)); }

static inline void pw_log(pw_log_level level, pw_str message) {
    proxy_log(level, PW_ARG(message));
}
static inline pw_status pw_header_get(pw_map map, pw_str name, pw_str *value) {
    return proxy_get_header_map_value(map, PW_ARG(name), PW_RESULT(value));
}
static inline pw_status pw_header_add(pw_map map, pw_str name, pw_str value) {
    return proxy_add_header_map_value(map, PW_ARG(name), PW_ARG(value));
}
static inline pw_status pw_header_replace(pw_map map, pw_str name, pw_str value) {
    return proxy_replace_header_map_value(map, PW_ARG(name), PW_ARG(value));
}
static inline pw_status pw_header_remove(pw_map map, pw_str name) {
    return proxy_remove_header_map_value(map, PW_ARG(name));
}
/* All that is buffered, or OK and empty where there is nothing (some hosts say NOT_FOUND then). */
static inline pw_status pw_buffer_get(pw_buffer buffer, pw_str *bytes) {
    pw_status status = proxy_get_buffer_bytes(buffer, 0, PW_ALL, PW_RESULT(bytes));
    return status == PW_NOT_FOUND ? PW_OK : status;
}
static inline pw_status pw_buffer_replace(pw_buffer buffer, pw_str bytes) {
    return proxy_set_buffer_bytes(buffer, 0, PW_ALL, PW_ARG(bytes));
}
static inline pw_status pw_buffer_append(pw_buffer buffer, pw_str bytes) {
    return proxy_set_buffer_bytes(buffer, PW_ALL, 0, PW_ARG(bytes));
}
static inline pw_status pw_buffer_prepend(pw_buffer buffer, pw_str bytes) {
    return proxy_set_buffer_bytes(buffer, 0, 0, PW_ARG(bytes));
}
/* A function's answer: to be given while its request is handled. */
static inline pw_status pw_set_response_body(pw_str body) {
    return pw_buffer_replace(PW_RESPONSE_BODY, body);
}
/* Inside proxy_on_configure only. */
static inline pw_status pw_plugin_configuration(pw_str *bytes) {
    return pw_buffer_get(PW_PLUGIN_CONFIGURATION, bytes);
}
/* The segments of a property's path are joined by NUL: PW_STR("request\0path"). */
static inline pw_status pw_property_get(pw_str path, pw_str *value) {
    return proxy_get_property(PW_ARG(path), PW_RESULT(value));
}
static inline pw_status pw_property_set(pw_str path, pw_str value) {
    return proxy_set_property(PW_ARG(path), PW_ARG(value));
}
static inline pw_status pw_get_state(pw_str store, pw_str key, pw_str *value) {
    return proxy_get_state(PW_ARG(store), PW_ARG(key), PW_RESULT(value));
}
static inline pw_status pw_invoke_service(pw_str id, pw_str method, pw_str body, pw_str *result) {
    return proxy_invoke_service(PW_ARG(id), PW_ARG(method), PW_ARG(body), PW_RESULT(result));
}
static inline pw_status pw_continue(pw_stream stream) { return proxy_continue_stream(stream); }

/* Logs "WHAT failed with status N" as an error. */
static inline void pw_log_failure(pw_str what, pw_status status) {
    char digits[10];
    const pw_str parts[] = {what, PW_STR(" failed with status "),
                            pw_decimal((uint32_t)status, digits)};
    pw_str text;
    pw_join(parts, 3, &text);
    pw_log(PW_LOG_ERROR, text.size ? text : what);
    pw_free(text.data);
}

/* Answers in place of the upstream or the function. Returns the action that the callback should
 * return then: PW_PAUSE, so that nothing goes on, even if the host refused the answer. */
static inline pw_action pw_respond(uint32_t code, pw_str content_type, pw_str body) {
    const pw_pair header = {PW_STR("content-type"), content_type};
    pw_str headers;
    /* Without memory the answer still goes out, only untyped. */
    pw_pairs_encode(&header, 1, &headers);
    pw_status status = proxy_send_local_response(code, NULL, 0, PW_ARG(body), PW_ARG(headers),
                                                 PW_NO_GRPC_STATUS);
    pw_free(headers.data);
    if (status != PW_OK) pw_log_failure(PW_STR("sending the response"), status);
    return PW_PAUSE;
}

#ifdef __cplusplus
}
#endif

#endif
