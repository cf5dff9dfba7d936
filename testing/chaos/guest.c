/* A guest that does harm on request: as a filter, and as a function where its configuration says so.
 *
 * The header x-chaos names what to do and in which callback: "trap request_body". Meanwhile it
 * keeps a list of the streams that it was told of, and counts what must not happen (a stream that
 * begins or ends twice, a callback for one that is not there) in the metric chaos_violations. */
#include "proxywasm.h"

#define MOST 2048

typedef enum { HEADERS, BODY, RESPONSE_HEADERS, RESPONSE_BODY, NEVER } place;

static struct stream {
    uint32_t id, call;
    place at;
    char fault;
    bool calling;
} streams[MOST];
static uint32_t count, root, violations;
static bool is_function;

static struct stream *find(uint32_t id) {
    for (uint32_t i = 0; i < count; i++)
        if (streams[i].id == id) return &streams[i];
    return NULL;
}

static void violated(pw_str what) {
    proxy_increment_metric(violations, 1);
    pw_log(PW_LOG_ERROR, what);
}

void proxy_on_context_create(uint32_t context, uint32_t parent) {
    if (!parent) {
        root = context;
        return;
    }
    if (find(context)) violated(PW_STR("a stream began twice"));
    if (count == MOST) return violated(PW_STR("streams are never deleted"));
    streams[count++] = (struct stream){context, 0, NEVER, 0, false};
}

void proxy_on_delete(uint32_t context) {
    struct stream *stream = find(context);
    if (context == root) return;
    if (!stream) return violated(PW_STR("a stream that is not there was deleted"));
    *stream = streams[--count];
}

bool proxy_on_configure(uint32_t context, uint32_t size) {
    (void)context;
    is_function = size > 0;
    return proxy_define_metric(PW_METRIC_COUNTER, PW_ARG(PW_STR("chaos_violations")),
                               &violations) == PW_OK;
}

/* --- harm ------------------------------------------------------------------------------------- */

static uint32_t recurse(volatile uint32_t depth) { return depth ? recurse(depth + 1) + depth : 0; }

static void spin(void) {
    for (volatile uint32_t turns = 0;; turns++)
        ;
}

/* Takes all memory that there is, and uses it. */
static void bomb(void) {
    for (;;) {
        size_t old = __builtin_wasm_memory_grow(0, 64);
        if (old == SIZE_MAX) __builtin_trap();
        *(volatile char *)(old << 16) = 1;
    }
}

/* What would be a second header, or a second answer; the host has to refuse each. */
static void inject(pw_map map) {
    if (pw_header_add(map, PW_STR("x-evil"), PW_STR("a\r\nx-injected: 1")) == PW_OK ||
        pw_header_add(map, PW_STR("x-evil\r\nx-injected"), PW_STR("1")) == PW_OK ||
        pw_header_replace(map, PW_STR("x-evil"), PW_STR("a\nb")) == PW_OK ||
        pw_header_add(map, PW_STR("x-nul"), PW_STR("a\0b")) == PW_OK)
        violated(PW_STR("a header was injected"));
}

static pw_action count_streams(void) {
    char digits[10];
    return pw_respond(200, PW_STR("text/plain"), pw_decimal(count, digits));
}

static pw_action call_out(struct stream *stream) {
    static const pw_pair pairs[] = {{{":method", 7}, {"GET", 3}},
                                    {{":path", 5}, {"/called", 7}},
                                    {{":authority", 10}, {"h", 1}}};
    pw_str headers;
    pw_pairs_encode(pairs, 3, &headers);
    pw_status status = proxy_http_call(PW_ARG(PW_STR("upstream")), PW_ARG(headers), NULL, 0, NULL, 0,
                                       1000, &stream->call);
    pw_free(headers.data);
    stream->calling = status == PW_OK;
    return stream->calling ? PW_PAUSE : PW_CONTINUE;
}

void proxy_on_http_call_response(uint32_t context, uint32_t call, uint32_t headers, uint32_t size,
                                 uint32_t trailers) {
    (void)context, (void)headers, (void)size, (void)trailers;
    for (uint32_t i = 0; i < count; i++)
        if (streams[i].calling && streams[i].call == call) {
            streams[i].calling = false;
            proxy_set_effective_context(streams[i].id);
            pw_continue(PW_STREAM_REQUEST);
        }
}

static pw_action harm(struct stream *stream, pw_map map) {
    const char fault = stream->fault;
    stream->fault = 0;
    switch (fault) {
        case 't': __builtin_trap();
        case 's': spin(); return PW_CONTINUE;
        case 'b': bomb(); return PW_CONTINUE;
        case 'r': return recurse(1) ? PW_CONTINUE : PW_PAUSE;
        case 'o': *(volatile uint32_t *)0xfffffff0u = 1; return PW_CONTINUE;
        case 'i': inject(map); return PW_CONTINUE;
        case 'p': return PW_PAUSE;
        case 'l': return count_streams();
        case 'c': return call_out(stream);
        default: return PW_CONTINUE;
    }
}

static void plan(struct stream *stream) {
    static const pw_str places[] = {{"request_headers", 15},
                                    {"request_body", 12},
                                    {"response_headers", 16},
                                    {"response_body", 13}};
    pw_str order;
    if (pw_header_get(PW_REQUEST_HEADERS, PW_STR("x-chaos"), &order) != PW_OK || !order.size)
        return;
    stream->fault = order.data[0];
    stream->at = HEADERS;
    for (uint32_t i = 0; i < 4; i++)
        if (order.size > places[i].size &&
            pw_equal(places[i], pw_view(order.data + order.size - places[i].size, places[i].size)))
            stream->at = (place)i;
    pw_free(order.data);
}

static pw_action reach(uint32_t context, place at, pw_map map) {
    struct stream *stream = find(context);
    if (!stream) {
        violated(PW_STR("a callback for a stream that is not there"));
        return PW_CONTINUE;
    }
    if (at == HEADERS) plan(stream);
    return stream->fault && stream->at == at ? harm(stream, map) : PW_CONTINUE;
}

/* --- the stream ------------------------------------------------------------------------------- */

/* A function's answer: what it was sent, or what the state store or another function says. */
static pw_action answer(void) {
    pw_str body, value = {NULL, 0};
    pw_status status = pw_buffer_get(PW_REQUEST_BODY, &body);
    const bool state = pw_equal(body, PW_STR("state")), nested = pw_equal(body, PW_STR("nested")),
               spins = pw_equal(body, PW_STR("nested spin"));
    if (pw_equal(body, PW_STR("spin"))) spin();
    if (state)
        status = pw_get_state(PW_STR("store"), PW_STR("key"), &value);
    else if (nested || spins)
        status = pw_invoke_service(PW_STR("other"), PW_STR(""),
                                   nested ? PW_STR("echo") : PW_STR("spin"), &value);
    else
        status = pw_set_response_body(body);
    pw_free(body.data);
    if (status != PW_OK) return pw_respond(502, PW_STR("text/plain"), PW_STR("failed"));
    if (state || nested || spins) pw_set_response_body(value);
    pw_free(value.data);
    return PW_CONTINUE;
}

pw_action proxy_on_request_headers(uint32_t context, uint32_t headers, bool end_of_stream) {
    (void)headers;
    pw_action action = reach(context, HEADERS, PW_REQUEST_HEADERS);
    if (is_function && end_of_stream && action == PW_CONTINUE)
        return pw_respond(400, PW_STR("text/plain"), PW_STR("a body is needed"));
    return action;
}
pw_action proxy_on_request_body(uint32_t context, uint32_t size, bool end_of_stream) {
    (void)size;
    if (is_function && !end_of_stream) return PW_PAUSE;
    pw_action action = reach(context, BODY, PW_REQUEST_HEADERS);
    return is_function && action == PW_CONTINUE ? answer() : action;
}
pw_action proxy_on_response_headers(uint32_t context, uint32_t headers, bool end_of_stream) {
    (void)headers, (void)end_of_stream;
    pw_header_replace(PW_RESPONSE_HEADERS, PW_STR("x-seen"), PW_STR("1"));
    return reach(context, RESPONSE_HEADERS, PW_RESPONSE_HEADERS);
}
pw_action proxy_on_response_body(uint32_t context, uint32_t size, bool end_of_stream) {
    (void)size, (void)end_of_stream;
    return reach(context, RESPONSE_BODY, PW_RESPONSE_HEADERS);
}
