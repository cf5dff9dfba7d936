/* A filter that waits for whole bodies, puts them in brackets, and marks trailers, both ways. */
#include "proxywasm.h"

static pw_action open_headers(pw_map headers, bool end_of_stream) {
    /* The body grows, so its announced length would be wrong. */
    if (!end_of_stream) pw_header_remove(headers, PW_STR("content-length"));
    return PW_CONTINUE;
}

static void wrap(pw_buffer body) {
    if (pw_buffer_prepend(body, PW_STR("[")) != PW_OK ||
        pw_buffer_append(body, PW_STR("]")) != PW_OK)
        pw_log(PW_LOG_ERROR, PW_STR("the body could not be changed"));
}

static pw_action on_body(pw_buffer body, bool end_of_stream) {
    if (!end_of_stream) return PW_PAUSE;
    wrap(body);
    return PW_CONTINUE;
}

static pw_action on_trailers(pw_buffer body, pw_map trailers) {
    wrap(body);
    if (pw_header_replace(trailers, PW_STR("x-anywasm"), PW_STR("trailers")) != PW_OK)
        pw_log(PW_LOG_ERROR, PW_STR("the trailer could not be set"));
    return PW_CONTINUE;
}

pw_action proxy_on_request_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count;
    return open_headers(PW_REQUEST_HEADERS, end_of_stream);
}
pw_action proxy_on_request_body(uint32_t context, uint32_t size, bool end_of_stream) {
    (void)context, (void)size;
    return on_body(PW_REQUEST_BODY, end_of_stream);
}
pw_action proxy_on_request_trailers(uint32_t context, uint32_t count) {
    (void)context, (void)count;
    return on_trailers(PW_REQUEST_BODY, PW_REQUEST_TRAILERS);
}
pw_action proxy_on_response_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count;
    return open_headers(PW_RESPONSE_HEADERS, end_of_stream);
}
pw_action proxy_on_response_body(uint32_t context, uint32_t size, bool end_of_stream) {
    (void)context, (void)size;
    return on_body(PW_RESPONSE_BODY, end_of_stream);
}
pw_action proxy_on_response_trailers(uint32_t context, uint32_t count) {
    (void)context, (void)count;
    return on_trailers(PW_RESPONSE_BODY, PW_RESPONSE_TRAILERS);
}
