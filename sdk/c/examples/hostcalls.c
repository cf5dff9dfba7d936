/* A guest that does what its configuration says, and logs what the host answers: for trying a host.
 *
 * A line of the configuration is PHASE FUNCTION ARGUMENT...: in the callback proxy_on_PHASE the
 * function is called. Arguments are parted by one space; strings are form-encoded. The function
 * `return` sets what the callback returns. vm_start follows the VM configuration, all other phases
 * the plugin's. The log has a line for each callback, "PHASE ARGUMENT...", and for each call,
 * "FUNCTION = STATUS RESULT...". */
#include "proxywasm.h"

typedef void (*function)(void);
typedef pw_status (*with_wide)(uint32_t, uint64_t);

/* Parameters: a number, a wide one, data; a result of data, of 32 bits, of 64 bits. */
static const struct {
    const char *name, *parameters;
    function call;
} functions[] = {
#define CALL(name, parameters) {#name, parameters, (function)name},
    CALL(proxy_log, "nd")
    CALL(proxy_get_log_level, "o")
    CALL(proxy_get_current_time_nanoseconds, "O")
    CALL(proxy_set_tick_period_milliseconds, "n")
    CALL(proxy_get_buffer_bytes, "nnnr")
    CALL(proxy_get_buffer_status, "noo")
    CALL(proxy_set_buffer_bytes, "nnnd")
    CALL(proxy_get_header_map_size, "no")
    CALL(proxy_get_header_map_pairs, "nr")
    CALL(proxy_set_header_map_pairs, "nd")
    CALL(proxy_get_header_map_value, "ndr")
    CALL(proxy_add_header_map_value, "ndd")
    CALL(proxy_replace_header_map_value, "ndd")
    CALL(proxy_remove_header_map_value, "nd")
    CALL(proxy_get_status, "or")
    CALL(proxy_send_local_response, "ndddn")
    CALL(proxy_continue_stream, "n")
    CALL(proxy_close_stream, "n")
    CALL(proxy_http_call, "ddddno")
    CALL(proxy_grpc_call, "dddddno")
    CALL(proxy_grpc_stream, "ddddo")
    CALL(proxy_grpc_send, "ndn")
    CALL(proxy_grpc_cancel, "n")
    CALL(proxy_grpc_close, "n")
    CALL(proxy_set_shared_data, "ddn")
    CALL(proxy_get_shared_data, "dro")
    CALL(proxy_register_shared_queue, "do")
    CALL(proxy_resolve_shared_queue, "ddo")
    CALL(proxy_enqueue_shared_queue, "nd")
    CALL(proxy_dequeue_shared_queue, "nr")
    CALL(proxy_define_metric, "ndo")
    CALL(proxy_record_metric, "nw")
    CALL(proxy_increment_metric, "nw")
    CALL(proxy_get_metric, "nO")
    CALL(proxy_get_property, "dr")
    CALL(proxy_set_property, "dd")
    CALL(proxy_call_foreign_function, "ddr")
    CALL(proxy_set_effective_context, "n")
    CALL(proxy_done, "")
};
#define MOST_PARAMETERS 12

/* The line that is being logged, and the script of the running phase. */
static char line[4096];
static uint32_t line_size;
static pw_str vm_script, script;

static pw_str text(const char *name) { return pw_view(name, (uint32_t)__builtin_strlen(name)); }

size_t strlen(const char *string) {
    size_t size = 0;
    while (string[size]) size++;
    return size;
}

static void say(pw_str part) {
    for (uint32_t i = 0; i < part.size && line_size < sizeof line; i++)
        line[line_size++] = part.data[i];
}

static void say_number(uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    say(PW_STR(" "));
    say(pw_view(digits + at, (uint32_t)sizeof digits - at));
}

static void end_line(void) {
    pw_log(PW_LOG_INFO, pw_view(line, line_size));
    line_size = 0;
}

/* Takes what comes before the first `end`, and skips that. */
static pw_str take(pw_str *from, char end) {
    uint32_t size = 0;
    while (size < from->size && from->data[size] != end) size++;
    const pw_str taken = pw_view(from->data, size);
    if (size < from->size) size++;
    *from = pw_view(from->data + size, from->size - size);
    return taken;
}

static uint64_t number(pw_str digits) {
    const bool negative = digits.size && digits.data[0] == '-';
    uint64_t value = 0;
    for (uint32_t i = negative; i < digits.size; i++)
        value = value * 10 + (uint64_t)(digits.data[i] - '0');
    return negative ? 0 - value : value;
}

static pw_status call(function f, const uint32_t *a, uint32_t count) {
#define N uint32_t
#define AS(...) ((pw_status(*)(__VA_ARGS__))f)
    switch (count) {
        case 0: return AS(void)();
        case 1: return AS(N)(a[0]);
        case 2: return AS(N, N)(a[0], a[1]);
        case 3: return AS(N, N, N)(a[0], a[1], a[2]);
        case 4: return AS(N, N, N, N)(a[0], a[1], a[2], a[3]);
        case 5: return AS(N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4]);
        case 6: return AS(N, N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4], a[5]);
        case 8:
            return AS(N, N, N, N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
        case 9:
            return AS(N, N, N, N, N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                                 a[8]);
        case 10:
            return AS(N, N, N, N, N, N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
                                                    a[8], a[9]);
        case 12:
            return AS(N, N, N, N, N, N, N, N, N, N, N, N)(a[0], a[1], a[2], a[3], a[4], a[5], a[6],
                                                          a[7], a[8], a[9], a[10], a[11]);
        default: __builtin_trap();
    }
}

static void say_results(const char *parameters, uint64_t *results) {
    for (; *parameters; parameters++) {
        if (*parameters == 'o' || *parameters == 'O') say_number(*results++);
        if (*parameters != 'r') continue;
        pw_str data;
        __builtin_memcpy(&data, results++, sizeof data);
        say(PW_STR(" ["));
        say(data);
        say(PW_STR("]"));
        pw_free(data.data);
    }
}

static void run(pw_str name, pw_str arguments) {
    uint32_t which = 0, values[MOST_PARAMETERS], count = 0, strings = 0, outputs = 0;
    const uint32_t known = sizeof functions / sizeof *functions;
    while (which < known && !pw_equal(name, text(functions[which].name))) which++;
    if (which == known) __builtin_trap();
    uint64_t results[3] = {0, 0, 0}, wide = 0;
    char *held[6];
    for (const char *kind = functions[which].parameters; *kind; kind++) {
        if (*kind == 'n') {
            values[count++] = (uint32_t)number(take(&arguments, ' '));
        } else if (*kind == 'w') {
            wide = number(take(&arguments, ' '));
        } else if (*kind == 'd') {
            const pw_str word = take(&arguments, ' ');
            held[strings] = (char *)pw_alloc(word.size);
            const pw_str data = pw_form_decode(word, held[strings++]);
            values[count++] = (uint32_t)(uintptr_t)data.data;
            values[count++] = data.size;
        } else {
            const uint32_t result = (uint32_t)(uintptr_t)&results[outputs++];
            values[count++] = result;
            if (*kind == 'r') values[count++] = result + 4;
        }
    }
    const bool has_wide = functions[which].parameters[0] == 'n' &&
                          functions[which].parameters[1] == 'w';
    const pw_status status = has_wide ? ((with_wide)functions[which].call)(values[0], wide)
                                      : call(functions[which].call, values, count);
    while (strings) pw_free(held[--strings]);
    say(name);
    say(PW_STR(" ="));
    say_number((uint32_t)status);
    if (status == PW_OK) say_results(functions[which].parameters, results);
    end_line();
}

static uint32_t on(const char *phase, const uint32_t *arguments, uint32_t count, uint32_t result) {
    say(text(phase));
    for (uint32_t i = 0; i < count; i++) say_number(arguments[i]);
    end_line();
    for (pw_str rest = script; rest.size;) {
        pw_str command = take(&rest, '\n');
        if (!pw_equal(take(&command, ' '), text(phase))) continue;
        const pw_str name = take(&command, ' ');
        if (pw_equal(name, PW_STR("return")))
            result = (uint32_t)number(command);
        else
            run(name, command);
    }
    return result;
}

#define ON(phase, result, ...)                                         \
    const uint32_t arguments[] = {__VA_ARGS__};                        \
    uint32_t answer = on(#phase, arguments, sizeof arguments / 4, result)

void proxy_on_context_create(uint32_t context, uint32_t parent) {
    ON(context_create, 0, context, parent);
    (void)answer;
}
bool proxy_on_vm_start(uint32_t context, uint32_t size) {
    pw_free(vm_script.data);
    pw_buffer_get(PW_VM_CONFIGURATION, &vm_script);
    const pw_str plugins = script;
    script = vm_script;
    ON(vm_start, 1, context, size);
    script = plugins;
    return answer;
}
bool proxy_on_configure(uint32_t context, uint32_t size) {
    pw_free(script.data);
    pw_plugin_configuration(&script);
    ON(configure, 1, context, size);
    return answer;
}
void proxy_on_tick(uint32_t context) {
    ON(tick, 0, context);
    (void)answer;
}
pw_action proxy_on_request_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    ON(request_headers, 0, context, count, end_of_stream);
    return (pw_action)answer;
}
pw_action proxy_on_request_body(uint32_t context, uint32_t size, bool end_of_stream) {
    ON(request_body, 0, context, size, end_of_stream);
    return (pw_action)answer;
}
pw_action proxy_on_request_trailers(uint32_t context, uint32_t count) {
    ON(request_trailers, 0, context, count);
    return (pw_action)answer;
}
pw_action proxy_on_response_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    ON(response_headers, 0, context, count, end_of_stream);
    return (pw_action)answer;
}
pw_action proxy_on_response_body(uint32_t context, uint32_t size, bool end_of_stream) {
    ON(response_body, 0, context, size, end_of_stream);
    return (pw_action)answer;
}
pw_action proxy_on_response_trailers(uint32_t context, uint32_t count) {
    ON(response_trailers, 0, context, count);
    return (pw_action)answer;
}
void proxy_on_queue_ready(uint32_t context, uint32_t queue) {
    ON(queue_ready, 0, context, queue);
    (void)answer;
}
void proxy_on_http_call_response(uint32_t context, uint32_t id, uint32_t headers, uint32_t body,
                                 uint32_t trailers) {
    ON(http_call_response, 0, context, id, headers, body, trailers);
    (void)answer;
}
void proxy_on_grpc_receive_initial_metadata(uint32_t context, uint32_t id, uint32_t count) {
    ON(grpc_receive_initial_metadata, 0, context, id, count);
    (void)answer;
}
void proxy_on_grpc_receive(uint32_t context, uint32_t id, uint32_t size) {
    ON(grpc_receive, 0, context, id, size);
    (void)answer;
}
void proxy_on_grpc_receive_trailing_metadata(uint32_t context, uint32_t id, uint32_t count) {
    ON(grpc_receive_trailing_metadata, 0, context, id, count);
    (void)answer;
}
void proxy_on_grpc_close(uint32_t context, uint32_t id, uint32_t status) {
    ON(grpc_close, 0, context, id, status);
    (void)answer;
}
bool proxy_on_done(uint32_t context) {
    ON(done, 1, context);
    return answer;
}
void proxy_on_log(uint32_t context) {
    ON(log, 0, context);
    (void)answer;
}
void proxy_on_delete(uint32_t context) {
    ON(delete, 0, context);
    (void)answer;
}
