/* api_error.c - the table of error kinds, and the body of an error answer. */
#include "serve/api_error.h"

#include "serve/api_write.h"

#include <stdio.h>

static const char invalid[] = "invalid_request_error";
static const char unavailable[] = "service_unavailable_error";

const struct api_error_meaning *api_error_meaning(enum api_error_kind kind)
{
    static const struct api_error_meaning table[API_ERROR_KIND_COUNT] = {
        [API_ERROR_NONE] = {200, "", NULL},
        [API_ERROR_BAD_JSON] = {400, invalid, NULL},
        [API_ERROR_INVALID_TYPE] = {400, invalid, "invalid_type"},
        [API_ERROR_INVALID_VALUE] = {400, invalid, "invalid_value"},
        [API_ERROR_MISSING_PARAMETER] = {400, invalid, "missing_required_parameter"},
        [API_ERROR_UNKNOWN_PARAMETER] = {400, invalid, "unknown_parameter"},
        [API_ERROR_UNSUPPORTED_PARAMETER] = {400, invalid, "unsupported_parameter"},
        [API_ERROR_UNSUPPORTED_VALUE] = {400, invalid, "unsupported_value"},
        [API_ERROR_CONTEXT_LENGTH] = {400, invalid, "context_length_exceeded"},
        [API_ERROR_KEY] = {401, invalid, "invalid_api_key"},
        [API_ERROR_SCOPE] = {403, "permission_error", "missing_scope"},
        [API_ERROR_MODEL_FORBIDDEN] = {403, invalid, "model_not_found"},
        [API_ERROR_NOT_FOUND] = {404, invalid, "not_found"},
        [API_ERROR_MODEL_NOT_FOUND] = {404, invalid, "model_not_found"},
        [API_ERROR_RATE_LIMIT] = {429, "rate_limit_exceeded", "rate_limit_exceeded"},
        [API_ERROR_QUOTA] = {429, "insufficient_quota", "insufficient_quota"},
        [API_ERROR_SERVER] = {500, "server_error", NULL},
        [API_ERROR_OVERLOADED] = {503, unavailable, "server_is_overloaded"},
        [API_ERROR_NOT_READY] = {503, unavailable, "server_not_ready"},
        [API_ERROR_LEDGER] = {503, unavailable, "usage_not_recorded"},
        [API_ERROR_BAD_HTTP] = {400, invalid, NULL},
        [API_ERROR_ORIGIN] = {403, "permission_error", NULL},
        [API_ERROR_UNKNOWN_URL] = {404, invalid, "unknown_url"},
        [API_ERROR_METHOD_NOT_SUPPORTED] = {405, invalid, "method_not_supported"},
        [API_ERROR_TIMEOUT] = {408, invalid, NULL},
        [API_ERROR_BODY_TOO_LARGE] = {413, invalid, NULL},
        [API_ERROR_URL_TOO_LONG] = {414, invalid, NULL},
        [API_ERROR_CONTENT_CODING] = {415, invalid, NULL},
        [API_ERROR_EXPECTATION] = {417, invalid, NULL},
        [API_ERROR_HEAD_TOO_LARGE] = {431, invalid, NULL},
        [API_ERROR_NOT_IMPLEMENTED] = {501, invalid, NULL},
        [API_ERROR_HTTP_VERSION] = {505, invalid, NULL},
    };
    return &table[kind < API_ERROR_KIND_COUNT ? kind : API_ERROR_SERVER];
}

bool api_error_set(struct api_error *e, enum api_error_kind kind, const char *param,
                   const char *format, ...)
{
    if (e == NULL) {
        return false;
    }
    va_list args;
    va_start(args, format);
    *e = (struct api_error){.kind = kind};
    vsnprintf(e->message, sizeof e->message, format, args);
    va_end(args);
    snprintf(e->param, sizeof e->param, "%s", param != NULL ? param : "");
    return false;
}

bool api_error_from(struct api_error *out, const struct error *e, const char *param)
{
    static const enum api_error_kind kinds[ERROR_CODE_COUNT] = {
        [ERROR_NONE] = API_ERROR_SERVER,
        [ERROR_USAGE] = API_ERROR_INVALID_VALUE,
        [ERROR_NOT_FOUND] = API_ERROR_NOT_FOUND,
        [ERROR_IO] = API_ERROR_SERVER,
        [ERROR_FORMAT] = API_ERROR_SERVER, /* of a file, which the server has, not the request */
        [ERROR_UNSUPPORTED] = API_ERROR_UNSUPPORTED_VALUE,
        [ERROR_CONTEXT] = API_ERROR_CONTEXT_LENGTH,
        [ERROR_MEMORY] = API_ERROR_OVERLOADED,
        [ERROR_INTERRUPTED] = API_ERROR_NOT_READY,
        [ERROR_BUSY] = API_ERROR_RATE_LIMIT,
        [ERROR_INTERNAL] = API_ERROR_SERVER,
    };
    enum api_error_kind kind = e->code < ERROR_CODE_COUNT ? kinds[e->code] : API_ERROR_SERVER;
    api_error_set(out, kind, param, "%s", e->text);
    if (out != NULL) {
        out->is_final = e->code == ERROR_FORMAT || e->code == ERROR_INTERNAL;
    }
    return false;
}

/* The parameter without the index of an entry: what the sentences below call the prompt. */
static struct str name_of(const char *param)
{
    return (struct str){param, strcspn(param, "[")};
}

/* Some programs know this error by its sentence, others by its code, which the official Python
 * client no longer puts into the text of its exception. */
bool api_error_context(struct api_error *e, const char *param, uint64_t n_ctx, uint64_t n_prompt,
                       uint64_t n_answer)
{
    struct str name = name_of(param);
    if (n_answer == 0) {
        return api_error_set(e, API_ERROR_CONTEXT_LENGTH, param,
                             "This model's maximum context length is %llu tokens. However, your "
                             "%.*s resulted in %llu tokens. Please reduce the length of the "
                             "%.*s. (context_length_exceeded)",
                             (unsigned long long)n_ctx, STR_ARG(name), (unsigned long long)n_prompt,
                             STR_ARG(name));
    }
    return api_error_set(e, API_ERROR_CONTEXT_LENGTH, param,
                         "This model's maximum context length is %llu tokens. However, you "
                         "requested %llu tokens (%llu in the %.*s, %llu in the completion). "
                         "Please reduce the length of the %.*s or completion. "
                         "(context_length_exceeded)",
                         (unsigned long long)n_ctx, (unsigned long long)(n_prompt + n_answer),
                         (unsigned long long)n_prompt, STR_ARG(name), (unsigned long long)n_answer,
                         STR_ARG(name));
}

bool api_error_context_least(struct api_error *e, const char *param, uint64_t n_ctx, uint64_t least)
{
    struct str name = name_of(param);
    return api_error_set(e, API_ERROR_CONTEXT_LENGTH, param,
                         "This model's maximum context length is %llu tokens. However, your "
                         "%.*s resulted in at least %llu tokens. Please reduce the length of "
                         "the %.*s. (context_length_exceeded)",
                         (unsigned long long)n_ctx, STR_ARG(name), (unsigned long long)least,
                         STR_ARG(name));
}

bool api_error_print(const struct api_error *e, struct buf *out, struct error *why)
{
    const struct api_error_meaning *m = api_error_meaning(e->kind);
    struct api_writer w;
    api_writer_init(&w, out, why);
    api_write_raw(&w, "{\"error\":{\"message\":");
    api_write_text(&w, str_from(e->message));
    api_write_raw(&w, ",\"type\":");
    api_write_text(&w, str_from(m->type));
    api_write_raw(&w, ",\"param\":");
    api_write_text_or_null(&w, e->param[0] != '\0' ? e->param : NULL);
    api_write_raw(&w, ",\"code\":");
    api_write_text_or_null(&w, m->code);
    api_write_raw(&w, "}}");
    return api_writer_end(&w);
}
