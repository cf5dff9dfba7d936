/* A filter that reads each part of a response's body, and writes it back as it is. */
#include "proxywasm.h"

pw_action proxy_on_response_body(uint32_t context, uint32_t size, bool end_of_stream) {
    pw_str body;
    (void)context, (void)size, (void)end_of_stream;
    if (pw_buffer_get(PW_RESPONSE_BODY, &body) == PW_OK) {
        if (pw_buffer_replace(PW_RESPONSE_BODY, body) != PW_OK)
            pw_log(PW_LOG_ERROR, PW_STR("the body could not be written"));
        pw_free(body.data);
    }
    return PW_CONTINUE;
}
