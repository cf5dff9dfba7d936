/* Function id_1: answers how many inventories function id_2 finds for the `name` of the request.
 *
 * The body is a form (name=book1); for a request without a body the host passes the query string. */
#include "proxywasm.h"

PW_ID("id_1")

#define JSON PW_STR("application/json")

static pw_action missing_name(void) {
    return pw_respond(400, JSON, PW_STR("{\"error\":\"parameter 'name' is missing: send ?name=NAME "
                                        "or a form body name=NAME\"}"));
}

static pw_action broken(pw_str what, pw_status status) {
    pw_log_failure(what, status);
    return pw_respond(500, JSON, PW_STR("{\"error\":\"function id_1 failed\"}"));
}

static pw_action answer(pw_str name) {
    pw_str count, text;
    pw_status status = pw_invoke_service(PW_STR("id_2"), PW_STR(""), name, &count);
    if (status != PW_OK) {
        pw_log_failure(PW_STR("invoking function id_2"), status);
        return pw_respond(502, JSON, PW_STR("{\"error\":\"function id_2, called by id_1, failed\"}"));
    }
    const pw_str parts[] = {PW_STR("There are "), count, PW_STR(" inventories for "), name,
                            PW_STR(".")};
    status = pw_join(parts, 5, &text);
    if (status == PW_OK) status = pw_set_response_body(text);
    pw_free(text.data);
    pw_free(count.data);
    return status == PW_OK ? PW_CONTINUE : broken(PW_STR("writing the response"), status);
}

static pw_action handle(void) {
    pw_str body, name;
    pw_action action;
    pw_status status = pw_buffer_get(PW_REQUEST_BODY, &body);
    if (status != PW_OK) return broken(PW_STR("reading the request"), status);
    status = pw_form_get(body, PW_STR("name"), &name);
    pw_free(body.data);
    if (status == PW_INTERNAL_FAILURE)
        action = broken(PW_STR("decoding the request"), status);
    else
        action = name.size ? answer(name) : missing_name();
    pw_free(name.data);
    return action;
}

pw_action proxy_on_request_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count;
    return end_of_stream ? missing_name() : PW_CONTINUE;
}

/* A paused body is buffered by the host, so that it is there as a whole at its end. */
pw_action proxy_on_request_body(uint32_t context, uint32_t size, bool end_of_stream) {
    (void)context, (void)size;
    return end_of_stream ? handle() : PW_PAUSE;
}

/* Where trailers follow, they and not the body end the request. */
pw_action proxy_on_request_trailers(uint32_t context, uint32_t count) {
    (void)context, (void)count;
    return handle();
}
