/* builtin.c - the texts of chat templates written here, and which of them a vocabulary asks for.
 * tests/oracle/chat_compare.py holds them against the ones that the models were published with. */
#include "chat/builtin.h"

/* <|im_start|>ROLE\nTEXT<|im_end|>\n */
static const char chatml[] =
    "{%- for m in messages -%}\n"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{{- '<|im_start|>assistant\\n' if add_generation_prompt -}}\n";

/* <s>[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nUSER [/INST] ASSISTANT </s><s>[INST] ...
 * The system's text and the user's are stripped as one: the space between them stays. */
static const char llama2[] =
    "{%- set has_system = messages[0].role == 'system' -%}\n"
    "{%- set turns = messages[1:] if has_system else messages -%}\n"
    "{%- if not turns -%}{{- raise_exception('a system message alone cannot be written') -}}{%- "
    "endif -%}\n"
    "{%- for m in turns -%}\n"
    "  {%- if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}\n"
    "    {{- raise_exception('after an optional system message user and assistant must take turns, "
    "but turn ' ~ loop.index ~ ' is from ' ~ m.role) -}}\n"
    "  {%- endif -%}\n"
    "  {%- if m.role == 'assistant' -%}\n"
    "    {{- ' ' + m.content.strip() + ' ' + eos_token -}}\n"
    "  {%- elif loop.first and has_system -%}\n"
    "    {{- bos_token + '[INST] ' + ('<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' +\n"
    "                                m.content).strip() + ' [/INST]' -}}\n"
    "  {%- else -%}\n"
    "    {{- bos_token + '[INST] ' + m.content.strip() + ' [/INST]' -}}\n"
    "  {%- endif -%}\n"
    "{%- endfor -%}\n";

/* <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|> */
static const char llama3[] =
    "{{- bos_token -}}\n"
    "{%- for m in messages -%}\n"
    "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + "
    "'<|eot_id|>' -}}\n"
    "{%- endfor -%}\n"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt -}}\n";

/* As Llama 3; a system turn with two dates always comes first, tools are told in it or in the first
 * turn of the user, and what they answer comes from ipython, as JSON. Variables that may be passed:
 * date_string, builtin_tools, custom_tools, tools_in_user_message. */
static const char llama31[] =
    "{%- macro head(role) -%}\n"
    "{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' -}}\n"
    "{%- endmacro -%}\n"
    "{%- macro list(functions) -%}\n"
    "{{- 'Respond in the format {\"name\": function name, \"parameters\": dictionary of argument "
    "name "
    "and its value}.Do not use variables.\\n\\n' -}}\n"
    "{%- for f in functions -%}{{- f | tojson(indent=4) + '\\n\\n' -}}{%- endfor -%}\n"
    "{%- endmacro -%}\n"
    "{%- set offered = custom_tools if custom_tools is defined else tools -%}\n"
    "{%- set with_user = tools_in_user_message if tools_in_user_message is defined else true -%}\n"
    "{%- set ipython = builtin_tools is defined -%}\n"
    "{%- set has_system = messages[0].role == 'system' -%}\n"
    "{%- set turns = messages[1:] if has_system else messages -%}\n"
    "\n"
    "{{- bos_token + head('system') -}}\n"
    "{{- 'Environment: ipython\\n' if ipython or offered is not none -}}\n"
    "{%- if ipython -%}\n"
    "{{- 'Tools: ' + builtin_tools | reject('equalto', 'code_interpreter') | join(', ') + '\\n\\n' "
    "-}}\n"
    "{%- endif -%}\n"
    "{{- 'Cutting Knowledge Date: December 2023\\nToday Date: ' -}}\n"
    "{{- (date_string if date_string is defined else strftime_now('%d %b %Y')) + '\\n\\n' -}}\n"
    "{%- if offered is not none and not with_user -%}\n"
    "{{- 'You have access to the following functions. To call a function, please respond with JSON "
    "for a function call.' + list(offered) -}}\n"
    "{%- endif -%}\n"
    "{{- messages[0].content | trim if has_system -}}\n"
    "{{- '<|eot_id|>' -}}\n"
    "\n"
    "{%- if offered is not none and with_user -%}\n"
    "{%- if not turns -%}{{- raise_exception('there is no user message to put the tools in') "
    "-}}{%- endif -%}\n"
    "{{- head('user') + 'Given the following functions, please respond with a JSON for a function "
    "call with its proper arguments that best answers the given prompt.\\n\\n' -}}\n"
    "{{- list(offered) + turns[0].content | trim + '<|eot_id|>' -}}\n"
    "{%- set turns = turns[1:] -%}\n"
    "{%- endif -%}\n"
    "\n"
    "{%- for m in turns -%}\n"
    "  {%- if 'tool_calls' in m -%}\n"
    "    {%- if m.tool_calls | length != 1 -%}\n"
    "      {{- raise_exception('a message of this model has one call of a tool at most') -}}\n"
    "    {%- endif -%}\n"
    "    {%- set call = m.tool_calls[0].function -%}\n"
    "    {{- head('assistant') -}}\n"
    "    {%- if ipython and call.name in builtin_tools -%}\n"
    "      {{- '<|python_tag|>' + call.name + '.call(' -}}\n"
    "      {%- for name, value in call.arguments | items -%}\n"
    "        {{- name + '=\"' + value + '\"' + (', ' if not loop.last else '') -}}\n"
    "      {%- endfor -%}\n"
    "      {{- ')' -}}\n"
    "    {%- else -%}\n"
    "      {{- '{\"name\": \"' + call.name + '\", \"parameters\": ' + call.arguments | tojson + "
    "'}' -}}\n"
    "    {%- endif -%}\n"
    "    {{- '<|eom_id|>' if ipython else '<|eot_id|>' -}}\n"
    "  {%- elif m.role == 'tool' or m.role == 'ipython' -%}\n"
    "    {{- head('ipython') + m.content | tojson + '<|eot_id|>' -}}\n"
    "  {%- else -%}\n"
    "    {{- head(m.role) + m.content | trim + '<|eot_id|>' -}}\n"
    "  {%- endif -%}\n"
    "{%- endfor -%}\n"
    "{{- head('assistant') if add_generation_prompt -}}\n";

enum { CHATML, LLAMA2, LLAMA3, LLAMA31, LLAMA32, LLAMA33, N_BUILTIN };

#define HEADERS                                                                                    \
    {                                                                                              \
        "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"                                   \
    }

/* 3.1, 3.2 and 3.3 are written alike. */
static const struct chat_builtin builtin[N_BUILTIN] = {
    [CHATML] = {.name = "chatml", .text = chatml, .controls = {"<|im_start|>", "<|im_end|>"}},
    [LLAMA2] = {.name = "llama2", .text = llama2, .needs_bos = true, .needs_eos = true},
    [LLAMA3] = {.name = "llama3", .text = llama3, .controls = HEADERS, .needs_bos = true},
    [LLAMA31] = {.name = "llama3.1", .text = llama31, .controls = HEADERS, .needs_bos = true},
    [LLAMA32] = {.name = "llama3.2", .text = llama31, .controls = HEADERS, .needs_bos = true},
    [LLAMA33] = {.name = "llama3.3", .text = llama31, .controls = HEADERS, .needs_bos = true},
};

const struct chat_builtin *chat_builtin_find(struct str name)
{
    for (int i = 0; i < N_BUILTIN; i++) {
        if (str_eq(name, str_from(builtin[i].name))) {
            return &builtin[i];
        }
    }
    return NULL;
}

/* --- by the vocabulary */

static bool contains(struct str s, struct str what)
{
    return s.n > 0 && memmem(s.p, s.n, what.p, what.n) != NULL;
}

static bool contains_nocase(struct str s, const char *lower)
{
    size_t n = strlen(lower);
    for (size_t i = 0; i + n <= s.n; i++) {
        size_t k = 0;
        while (k < n &&
               (s.p[i + k] | (s.p[i + k] >= 'A' && s.p[i + k] <= 'Z' ? 0x20 : 0)) == lower[k]) {
            k++;
        }
        if (k == n) {
            return true;
        }
    }
    return false;
}

static bool has_token(const struct tokenizer *t, const char *text)
{
    return tokenizer_find(t, str_from(text)) != TOKEN_NONE;
}

/* Llama 3 keeps <|eom_id|> among its reserved tokens; 3.1 gave it its name. */
const struct chat_builtin *chat_builtin_choose(const struct tokenizer *t, struct str model_name)
{
    if (has_token(t, "<|im_start|>") && has_token(t, "<|im_end|>")) {
        return &builtin[CHATML];
    }
    if (has_token(t, "<|start_header_id|>") && has_token(t, "<|eot_id|>")) {
        return &builtin[!has_token(t, "<|eom_id|>")        ? LLAMA3
                        : contains(model_name, STR("3.3")) ? LLAMA33
                        : contains(model_name, STR("3.2")) ? LLAMA32
                                                           : LLAMA31];
    }
    bool is_llama2 =
        contains_nocase(model_name, "llama-2") || contains_nocase(model_name, "llama 2") ||
        contains_nocase(model_name, "llama2") || contains_nocase(model_name, "llama v2");
    return tokenizer_info(t)->model == TOKEN_MODEL_SPM && is_llama2 &&
                   contains_nocase(model_name, "chat")
               ? &builtin[LLAMA2]
               : NULL;
}

/* --- the tokens that one needs */

/* Text may give any token but a CONTROL one: a template that writes another would let a message
 * spell it. */
static bool check_control(const struct chat_builtin *b, const struct tokenizer *t, uint32_t id,
                          struct error *e)
{
    enum token_kind kind = tokenizer_kind(t, id);
    if (kind == TOKEN_CONTROL) {
        return true;
    }
    struct str text = str_shown(tokenizer_text(t, id));
    return error_set(e, ERROR_UNSUPPORTED,
                     "chat template %s needs token '%.*s' as a control token, but token %u is of "
                     "type %d",
                     b->name, STR_ARG(text), id, (int)kind);
}

static bool check_role(const struct chat_builtin *b, const struct tokenizer *t, uint32_t id,
                       const char *what, struct error *e)
{
    if (id == TOKEN_NONE) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "chat template %s needs a %s token, which the file lacks", b->name, what);
    }
    return check_control(b, t, id, e);
}

bool chat_builtin_check(const struct chat_builtin *b, const struct tokenizer *t, struct error *e)
{
    const struct token_info *info = tokenizer_info(t);
    for (const char *const *text = b->controls; *text != NULL; text++) {
        uint32_t id = tokenizer_find(t, str_from(*text));
        if (id == TOKEN_NONE) {
            return error_set(e, ERROR_UNSUPPORTED,
                             "chat template %s needs token '%s', which the vocabulary lacks",
                             b->name, *text);
        }
        if (!check_control(b, t, id, e)) {
            return false;
        }
    }
    return (!b->needs_bos || check_role(b, t, info->bos, "beginning-of-text", e)) &&
           (!b->needs_eos || check_role(b, t, info->eos, "end-of-text", e));
}
