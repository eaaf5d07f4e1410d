/* tool_format.c - names of the formats, how a template tells which one, and what teaches them. */
#include "chat/tool_format.h"

#include "chat/jinja.h"

static const char *const names[TOOL_FORMAT_COUNT] = {
    [TOOL_FORMAT_NONE] = "none",         [TOOL_FORMAT_LLAMA3_JSON] = "llama3-json",
    [TOOL_FORMAT_PYTHONIC] = "pythonic", [TOOL_FORMAT_FUNCTION_TAG] = "function-tag",
    [TOOL_FORMAT_HERMES] = "hermes",
};

const char *tool_format_name(enum tool_format format)
{
    return names[format];
}

bool tool_format_parse(struct str name, enum tool_format *out)
{
    for (size_t i = 0; i < TOOL_FORMAT_COUNT; i++) {
        if (str_eq(name, str_from(names[i]))) {
            *out = (enum tool_format)i;
            return true;
        }
    }
    return false;
}

static bool has(struct str text, const char *part)
{
    return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* The first that fits: what a template teaches, then what it looks like. */
enum tool_format tool_format_detect(struct str template_text)
{
    static const struct {
        const char *part;
        enum tool_format format;
    } signs[] = {
        {"<tool_call>", TOOL_FORMAT_HERMES},
        {"<function=", TOOL_FORMAT_FUNCTION_TAG},
        {"params_name1=params_value1", TOOL_FORMAT_PYTHONIC}, /* of Meta's example */
        {"<|start_header_id|>", TOOL_FORMAT_LLAMA3_JSON},
        {"<|im_start|>", TOOL_FORMAT_HERMES},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (has(template_text, signs[i].part)) {
            return signs[i].format;
        }
    }
    return TOOL_FORMAT_LLAMA3_JSON;
}

bool tool_format_shows_token(const struct tokenizer *t, uint32_t id)
{
    static const char *const shown[] = {"<|python_tag|>", "<tool_call>", "</tool_call>"};
    bool is_control = tokenizer_kind(t, id) == TOKEN_CONTROL;
    for (size_t i = 0; is_control && i < sizeof shown / sizeof *shown; i++) {
        if (str_eq(tokenizer_text(t, id), str_from(shown[i]))) {
            return true;
        }
    }
    return false;
}

/* What the prompts have in common: the functions, one a line, and an empty one (Jinja takes the
 * newline after a block). */
#define FUNCTIONS                                                                                  \
    "You can call these functions:\n\n"                                                            \
    "{% for tool in tools %}{{ tool.function | tojson }}{{ '\\n' }}{% endfor %}\n\n"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct str prompts[TOOL_FORMAT_COUNT] = {
    [TOOL_FORMAT_LLAMA3_JSON] = TEXT(
        FUNCTIONS
        "When one of them helps to answer, write a JSON object that calls it, and nothing else:\n"
        "{\"name\": \"NAME\", \"parameters\": {\"ARGUMENT\": VALUE, ...}}\n"
        "Write values, not variables. For several calls write several such objects, with \"; \" "
        "between them. When no function helps, answer in plain words."),
    [TOOL_FORMAT_PYTHONIC] = TEXT(
        FUNCTIONS "When some of them help to answer, write a list of calls, and nothing else:\n"
                  "[NAME(ARGUMENT=VALUE, ...), NAME(...)]\n"
                  "Values are Python literals, not variables. When no function helps, answer in "
                  "plain words."),
    [TOOL_FORMAT_FUNCTION_TAG] =
        TEXT(FUNCTIONS
             "When one of them helps to answer, write a call, and nothing else:\n"
             "<function=NAME>{\"ARGUMENT\": VALUE, ...}</function>\n"
             "The arguments are one JSON object on one line. Several calls follow each other on "
             "lines of their own. When no function helps, answer in plain words."),
    [TOOL_FORMAT_HERMES] = TEXT(
        FUNCTIONS "When one of them helps to answer, write a JSON object that calls it, within "
                  "<tool_call> tags:\n"
                  "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"ARGUMENT\": VALUE, ...}}\n"
                  "</tool_call>\n"
                  "Each of several calls has its own tags. When no function helps, answer in plain "
                  "words."),
};

static bool render(struct str prompt, struct jinja_value variables, struct buf *out,
                   struct error *e)
{
    struct jinja_output text;
    struct jinja_template *t = jinja_parse(prompt, e);
    bool ok = t != NULL && jinja_render(t, variables, NULL, NULL, &text, e);
    jinja_destroy(t);
    if (ok) {
        ok = buf_append(out, buf_str(&text.text), e);
        jinja_output_finish(&text);
    }
    return ok;
}

bool tool_prompt_write(enum tool_format format, const json_t *tools, struct buf *out,
                       struct error *e)
{
    if (prompts[format].n == 0 || json_array_size(tools) == 0) {
        return true;
    }
    struct jinja_arena arena;
    struct jinja_value variables, list;
    jinja_arena_init(&arena, JINJA_DEFAULT_MEMORY_BYTES);
    bool ok = jinja_dict_create(&arena, &variables, e) &&
              jinja_from_json(&arena, tools, JINJA_DATA, &list, e) &&
              jinja_dict_put(&arena, variables, STR("tools"), JINJA_TEMPLATE, list, e) &&
              render(prompts[format], variables, out, e);
    jinja_arena_finish(&arena);
    return ok;
}
