/* A filter that adds one header to every response. */
#include "proxywasm.h"

pw_action proxy_on_response_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count, (void)end_of_stream;
    if (pw_header_add(PW_RESPONSE_HEADERS, PW_STR("x-anywasm"), PW_STR("hello")) != PW_OK)
        pw_log(PW_LOG_ERROR, PW_STR("the response header could not be added"));
    return PW_CONTINUE;
}
