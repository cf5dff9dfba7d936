/* A filter that adds one response header, and is told of its stream's whole life. */
#include "proxywasm.h"

static uint32_t streams;

void proxy_on_context_create(uint32_t context, uint32_t root) {
    (void)context;
    if (root) streams++;
}
pw_action proxy_on_response_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count, (void)end_of_stream;
    if (pw_header_add(PW_RESPONSE_HEADERS, PW_STR("x-bench"), PW_STR("1")) != PW_OK)
        pw_log(PW_LOG_ERROR, PW_STR("the response header could not be added"));
    return PW_CONTINUE;
}
bool proxy_on_done(uint32_t context) {
    (void)context;
    return true;
}
void proxy_on_log(uint32_t context) { (void)context; }
void proxy_on_delete(uint32_t context) {
    (void)context;
    if (streams) streams--;
}
