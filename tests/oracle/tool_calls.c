/* tool_calls.c - finds and writes calls for tests/oracle/bfcl_calls.py: one JSON object a line on
 * standard input
 *   {"format": NAME, "tools": [...], "text": TEXT, "seed": N}: N cuts the text; 0: whole
 *   {"format": NAME, "calls": [{"name": NAME, "arguments": TEXT}, ...]}
 * one a line on standard output
 *   {"content": TEXT, "calls": [{"name": NAME, "arguments": TEXT, "end": N}, ...]}
 *   {"text": TEXT}, or {"error": TEXT} */
#include "base/rng.h"
#include "chat/tool_parser.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_CALLS = 64, MAX_BYTES = 16 << 20 };

static json_t *failure(const struct error *e)
{
    return json_pack("{s:s}", "error", e->text);
}

static json_t *text_of(struct str s)
{
    return json_stringn(s.n > 0 ? s.p : "", s.n);
}

static struct str str_of(const json_t *object, const char *key)
{
    const json_t *text = json_object_get(object, key);
    return (struct str){json_string_value(text), json_string_length(text)};
}

struct found {
    struct buf content, arguments;
    json_t *calls;
};

static void take(struct found *f, struct tool_output *out)
{
    size_t at = 0;
    for (size_t i = 0; i < out->n_spans; i++) {
        const struct tool_span *span = &out->spans[i];
        struct str text = {out->text.data + at, span->n_bytes};
        at += span->n_bytes;
        if (span->kind == TOOL_CONTENT) {
            buf_append(&f->content, text, NULL);
        } else if (span->kind == TOOL_CALL_NAME) {
            json_array_append_new(f->calls, json_pack("{s:o}", "name", text_of(text)));
            buf_clear(&f->arguments);
        } else if (span->kind == TOOL_CALL_ARGUMENTS) {
            buf_append(&f->arguments, text, NULL);
        } else {
            json_t *call = json_array_get(f->calls, json_array_size(f->calls) - 1);
            json_object_set_new(call, "arguments", text_of(buf_str(&f->arguments)));
            json_object_set_new(call, "end", json_integer(span->end));
        }
    }
    tool_output_clear(out);
}

static bool read_text(struct tool_parser *p, struct str text, uint64_t seed, struct found *f,
                      struct error *e)
{
    struct tool_output out;
    struct rng rng;
    tool_output_init(&out);
    rng_init(&rng, seed);
    bool ok = true;
    while (ok && text.n > 0) {
        size_t n = seed == 0 ? text.n : 1 + rng_next(&rng) % 12;
        n = n < text.n ? n : text.n;
        ok = tool_parser_push(p, (struct str){text.p, n}, &out, e);
        text = str_skip(text, n);
        take(f, &out);
    }
    ok = ok && tool_parser_flush(p, &out, e);
    take(f, &out);
    tool_output_finish(&out);
    return ok;
}

static json_t *find(enum tool_format format, const json_t *request)
{
    struct error e = {0};
    struct tool_set set;
    if (!tool_set_init(&set, json_object_get(request, "tools"), &e)) {
        return failure(&e);
    }
    struct found f = {.calls = json_array()};
    buf_init(&f.content, MAX_BYTES);
    buf_init(&f.arguments, MAX_BYTES);
    struct tool_parser *p = tool_parser_create(format, &set, &e);
    uint64_t seed = (uint64_t)json_integer_value(json_object_get(request, "seed"));
    bool ok = p != NULL && read_text(p, str_of(request, "text"), seed, &f, &e);
    json_t *answer =
        ok ? json_pack("{s:o, s:O}", "content", text_of(buf_str(&f.content)), "calls", f.calls)
           : failure(&e);
    json_decref(f.calls);
    buf_finish(&f.content);
    buf_finish(&f.arguments);
    tool_parser_destroy(p);
    tool_set_finish(&set);
    return answer;
}

static json_t *write(enum tool_format format, const json_t *list)
{
    struct chat_call calls[MAX_CALLS];
    size_t n = json_array_size(list);
    struct error e = {0};
    struct buf out;
    buf_init(&out, MAX_BYTES);
    for (size_t i = 0; i < n && i < MAX_CALLS; i++) {
        const json_t *call = json_array_get(list, i);
        calls[i] = (struct chat_call){.name = str_of(call, "name"),
                                      .arguments = str_of(call, "arguments")};
    }
    json_t *answer =
        n <= MAX_CALLS && tool_calls_write(tool_spelling_usual(format), calls, n, &out, NULL, &e)
            ? json_pack("{s:o}", "text", text_of(buf_str(&out)))
            : failure(&e);
    buf_finish(&out);
    return answer;
}

static json_t *answer(const json_t *request)
{
    enum tool_format format;
    const json_t *calls = json_object_get(request, "calls");
    if (!tool_format_parse(str_of(request, "format"), &format)) {
        return json_pack("{s:s}", "error", "no such format");
    }
    return calls != NULL ? write(format, calls) : find(format, request);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        json_t *result = answer(request);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
