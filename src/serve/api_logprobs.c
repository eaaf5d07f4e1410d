/* api_logprobs.c - log probabilities in the two shapes: a chat's list of objects, a completion's
 * parallel arrays. Both name a token by its text; one that is no UTF-8 by itself is spelled byte by
 * byte ("\xe2\x9c"), so that two halves of code points have two names. */
#include "serve/api_answer_internal.h"

#include <math.h>
#include <stdio.h>

size_t api_count_text(struct str bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        n += ((unsigned char)bytes.p[i] & 0xC0) != 0x80;
    }
    return n;
}

static void write_name(struct api_writer *w, struct str bytes, const char *prefix)
{
    if (str_is_utf8(bytes)) {
        api_write_text(w, bytes);
        return;
    }
    api_write_raw(w, "\"");
    api_write_raw(w, prefix);
    for (size_t i = 0; i < bytes.n; i++) {
        char text[8];
        snprintf(text, sizeof text, "\\\\x%02x", (unsigned)(unsigned char)bytes.p[i]);
        api_write_raw(w, text);
    }
    api_write_raw(w, "\"");
}

static void write_logprob(struct api_writer *w, double logprob)
{
    if (!(logprob > API_LOGPROB_FLOOR)) { /* NaN too */
        api_write_raw(w, "-9999.0");
    } else {
        api_write_double(w, logprob < 0 ? logprob : 0);
    }
}

/* --- chats */

static void write_chat_token(struct api_writer *w, struct str bytes, double logprob)
{
    api_write_raw(w, "{\"token\":");
    write_name(w, bytes, "");
    api_write_raw(w, ",\"logprob\":");
    write_logprob(w, logprob);
    api_write_raw(w, ",\"bytes\":");
    api_write_byte_list(w, bytes);
}

static void write_chat_logprobs(struct api_writer *w, const struct api_choice *c)
{
    api_write_raw(w, "{\"content\":[");
    for (size_t i = 0; i < c->n_tokens; i++) {
        const struct api_token *t = &c->tokens[i];
        api_write_raw(w, i > 0 ? "," : "");
        write_chat_token(w, t->bytes, t->logprob);
        api_write_raw(w, ",\"top_logprobs\":[");
        for (size_t k = 0; k < t->n_top; k++) {
            api_write_raw(w, k > 0 ? "," : "");
            write_chat_token(w, t->top[k].bytes, t->top[k].logprob);
            api_write_raw(w, "}");
        }
        api_write_raw(w, "]}");
    }
    api_write_raw(w, "],\"refusal\":null}");
}

/* --- completions */

static const char legacy_prefix[] = "bytes:";

/* A JSON object has a name once, and two ids may have one text: the likelier one is told. */
static bool is_told(const struct api_token *t, struct str bytes, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        if (str_eq(t->top[k].bytes, bytes)) {
            return true;
        }
    }
    return false;
}

static void write_legacy_top(struct api_writer *w, const struct api_token *t)
{
    if (isnan(t->logprob)) {
        api_write_raw(w, "null");
        return;
    }
    api_write_raw(w, "{");
    const char *comma = "";
    for (size_t k = 0; k < t->n_top; k++) {
        if (is_told(t, t->top[k].bytes, k)) {
            continue;
        }
        api_write_raw(w, comma);
        write_name(w, t->top[k].bytes, legacy_prefix);
        api_write_raw(w, ":");
        write_logprob(w, t->top[k].logprob);
        comma = ",";
    }
    /* the chosen token is always among them */
    if (!is_told(t, t->bytes, t->n_top)) {
        api_write_raw(w, comma);
        write_name(w, t->bytes, legacy_prefix);
        api_write_raw(w, ":");
        write_logprob(w, t->logprob);
    }
    api_write_raw(w, "}");
}

static void write_legacy_logprobs(struct api_writer *w, const struct api_choice *c)
{
    api_write_raw(w, "{\"tokens\":[");
    for (size_t i = 0; i < c->n_tokens; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        write_name(w, c->tokens[i].bytes, legacy_prefix);
    }
    api_write_raw(w, "],\"token_logprobs\":[");
    for (size_t i = 0; i < c->n_tokens; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        if (isnan(c->tokens[i].logprob)) {
            api_write_raw(w, "null");
        } else {
            write_logprob(w, c->tokens[i].logprob);
        }
    }
    api_write_raw(w, "],\"top_logprobs\":[");
    for (size_t i = 0; i < c->n_tokens; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        write_legacy_top(w, &c->tokens[i]);
    }
    api_write_raw(w, "],\"text_offset\":[");
    for (size_t i = 0; i < c->n_tokens; i++) {
        api_write_raw(w, i > 0 ? "," : "");
        api_write_int(w, (int64_t)c->tokens[i].text_offset);
    }
    api_write_raw(w, "]}");
}

/* --- the end of a choice */

static void write_filter(struct api_writer *w, const struct api_filter_result *f)
{
    api_write_raw(w, ",\"content_filter_results\":{");
    for (int i = 0; i < GUARD_CATEGORY_COUNT; i++) {
        unsigned bit = guard_bit((enum guard_category)i);
        api_write_raw(w, i > 0 ? "," : "");
        api_write_text(w, str_from(guard_category_name((enum guard_category)i)));
        api_write_raw(w, ":{\"filtered\":");
        api_write_bool(w, (f->filtered & bit) != 0);
        if (i == GUARD_JAILBREAK || i == GUARD_PROFANITY) {
            api_write_raw(w, ",\"detected\":");
            api_write_bool(w, (f->detected & bit) != 0);
        }
        api_write_raw(w, "}");
    }
    api_write_raw(w, "}");
}

void api_write_choice_tail(struct api_writer *w, const struct api_choice *c, bool is_chat)
{
    static const char *const reasons[] = {[API_FINISH_NONE] = "null",
                                          [API_FINISH_STOP] = "\"stop\"",
                                          [API_FINISH_LENGTH] = "\"length\"",
                                          [API_FINISH_TOOL_CALLS] = "\"tool_calls\"",
                                          [API_FINISH_FUNCTION_CALL] = "\"function_call\"",
                                          [API_FINISH_CONTENT_FILTER] = "\"content_filter\""};
    api_write_raw(w, ",\"logprobs\":");
    if (!c->logprobs) {
        api_write_raw(w, "null");
    } else if (is_chat) {
        write_chat_logprobs(w, c);
    } else {
        write_legacy_logprobs(w, c);
    }
    api_write_raw(w, ",\"finish_reason\":");
    api_write_raw(w, reasons[c->finish]);
    if (c->filter != NULL) {
        write_filter(w, c->filter);
    }
}
