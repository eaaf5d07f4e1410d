/* fuzz_run_tools.c - a list of tools as a file has it, a NUL, an answer's text. What is taken for
 * tools is what parser and templates need; what is taken for a call is one of them with a JSON
 * object, in one line that means the same; however the text is cut, the same comes out. */
#include "cmd/print.h"
#include "cmd/run_tools.h"

#include "require.h"

enum { MAX_BYTES = 1 << 24 };

struct said {
    struct buf text;
    struct run_calls calls;
};

static void take(struct said *s, const json_t *tools, enum tool_format format, struct str text,
                 size_t n_piece)
{
    struct error e = {0};
    struct chat_template t = {.tool_format = format};
    *s = (struct said){0};
    buf_init(&s->text, MAX_BYTES);
    require(run_calls_init(&s->calls, &t, tools, &e));
    while (text.n > 0) {
        size_t n = n_piece < text.n ? n_piece : text.n;
        require(run_calls_push(&s->calls, (struct str){text.p, n}, &s->text, &e));
        text = str_skip(text, n);
    }
    require(run_calls_flush(&s->calls, false, &s->text, &e));
    FILE *own = stderr;
    char *warnings = NULL;
    size_t n_warnings = 0;
    stderr = open_memstream(&warnings, &n_warnings);
    require(stderr != NULL && run_calls_settle(&s->calls, &e));
    fclose(stderr);
    stderr = own;
    require((n_warnings > 0) == (s->calls.n < s->calls.n_list));
    free(warnings);
}

static void finish(struct said *s)
{
    buf_finish(&s->text);
    run_calls_finish(&s->calls);
}

/* NULL: JSON that the library does not hold, such as 1e999, or not UTF-8. */
static json_t *load(struct str text)
{
    json_t *json = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
    require(json == NULL || json_is_object(json));
    return json;
}

static void check_call(const struct run_calls *calls, const struct chat_call *call)
{
    char *line = NULL;
    size_t n = 0;
    require(tool_set_find(&calls->set, call->name) != NULL);
    json_t *json = load(call->arguments);
    FILE *f = open_memstream(&line, &n);
    require(f != NULL);
    print_json_line(f, call->arguments);
    fclose(f);
    for (size_t i = 0; i < n; i++) {
        require((unsigned char)line[i] >= 0x20 && line[i] != 0x7F);
    }
    json_t *again = load((struct str){line, n});
    require(json == NULL || json_equal(json, again));
    json_decref(json);
    json_decref(again);
    free(line);
}

static void check(const json_t *tools, enum tool_format format, struct str text)
{
    struct said whole, bytes;
    take(&whole, tools, format, text, MAX_BYTES);
    take(&bytes, tools, format, text, 1);
    require(str_eq(buf_str(&whole.text), buf_str(&bytes.text)));
    require(whole.calls.n == bytes.calls.n && whole.calls.n_list == bytes.calls.n_list);
    for (size_t i = 0; i < whole.calls.n; i++) {
        const struct chat_call *a = &whole.calls.calls[i], *b = &bytes.calls.calls[i];
        require(str_eq(a->name, b->name) && str_eq(a->arguments, b->arguments));
        require(a->id.n > 0 && !str_eq(a->id, b->id));
        check_call(&whole.calls, a);
    }
    finish(&whole);
    finish(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct str all = {(const char *)data, n_bytes};
    const char *nul = n_bytes > 0 ? memchr(all.p, 0, all.n) : NULL;
    struct str list = {all.p, nul != NULL ? (size_t)(nul - all.p) : all.n};
    struct str text = nul != NULL ? str_skip(all, list.n + 1) : STR("");
    struct error e = {0};
    json_t *tools = NULL;
    if (!run_tools_parse(list, &tools, &e)) {
        require(e.code == ERROR_FORMAT && e.text[0] != '\0' && tools == NULL);
        return 0;
    }
    for (int format = TOOL_FORMAT_NONE; format < TOOL_FORMAT_COUNT; format++) {
        check(tools, (enum tool_format)format, text);
    }
    json_decref(tools);
    return 0;
}
