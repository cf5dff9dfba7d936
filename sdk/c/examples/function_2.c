/* Function id_2: answers with the value that a state store holds for the key in the request body.
 *
 * A key that the store lacks is an empty answer. The store is `state_demo` unless the plugin
 * configuration names another: as the text store=NAME or as a pairs-encoded map with that key. */
#include "proxywasm.h"

PW_ID("id_2")

static pw_str store; /* empty: the default; else memory of the guest */

#define JSON PW_STR("application/json")

static pw_action missing_key(void) {
    return pw_respond(400, JSON,
                      PW_STR("{\"error\":\"the key is missing: send it as the request body\"}"));
}

static pw_action broken(pw_str what, pw_status status) {
    pw_log_failure(what, status);
    return pw_respond(500, JSON, PW_STR("{\"error\":\"function id_2 failed\"}"));
}

static pw_action answer(pw_str key) {
    pw_str value;
    pw_status status = pw_get_state(store.size ? store : PW_STR("state_demo"), key, &value);
    if (status != PW_OK) {
        pw_log_failure(PW_STR("reading the state store"), status);
        return pw_respond(502, JSON, PW_STR("{\"error\":\"the state store of id_2 failed\"}"));
    }
    status = pw_set_response_body(value);
    pw_free(value.data);
    return status == PW_OK ? PW_CONTINUE : broken(PW_STR("writing the response"), status);
}

static pw_action handle(void) {
    pw_str key;
    pw_status status = pw_buffer_get(PW_REQUEST_BODY, &key);
    if (status != PW_OK) return broken(PW_STR("reading the request"), status);
    pw_action action = key.size ? answer(key) : missing_key();
    pw_free(key.data);
    return action;
}

/* Sets the store to a copy of `name` and reports whether that is a usable name. */
static bool use_store(pw_str name) {
    while (name.size && (unsigned char)name.data[name.size - 1] <= ' ') name.size--;
    if (!name.size) {
        pw_log(PW_LOG_ERROR, PW_STR("configuration: the value of 'store' is empty"));
        return false;
    }
    pw_free(store.data);
    return pw_join(&name, 1, &store) == PW_OK;
}

bool proxy_on_configure(uint32_t context, uint32_t size) {
    (void)context;
    pw_str bytes, name;
    bool ok;
    if (!size) return true;
    pw_status status = pw_plugin_configuration(&bytes);
    if (status == PW_OK && pw_pairs_find(bytes, PW_STR("store"), &name)) {
        ok = use_store(name);
    } else {
        if (status == PW_OK) status = pw_form_get(bytes, PW_STR("store"), &name);
        ok = status == PW_OK ? use_store(name) : status == PW_NOT_FOUND;
        if (status == PW_OK) pw_free(name.data);
        if (!ok) pw_log_failure(PW_STR("reading the plugin configuration"), status);
    }
    pw_free(bytes.data);
    return ok;
}

pw_action proxy_on_request_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)count;
    return end_of_stream ? missing_key() : PW_CONTINUE;
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
