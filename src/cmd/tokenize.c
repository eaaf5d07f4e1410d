/* tokenize.c - `puna tokenize` and `puna detokenize`: text to token ids and back. */
#include "base/clock.h"
#include "base/mem.h"
#include "chat/conversation.h"
#include "cmd/chat_options.h"
#include "cmd/cmd.h"
#include "cmd/ids.h"
#include "cmd/options.h"
#include "cmd/print.h"
#include "token/token.h"

#include <stdio.h>

enum { MAX_INPUT_BYTES = 64 << 20 };

/* A tokenizer and the file that it points into. */
struct vocabulary {
    struct gguf *file;
    struct tokenizer *tokenizer;
};

static bool vocabulary_open(struct vocabulary *v, const struct cmd_env *env, const char *model,
                            struct error *e)
{
    char *path = NULL;
    *v = (struct vocabulary){0};
    if (!cmd_find_model(env, model, &path, e)) {
        return false;
    }
    v->file = gguf_open(path, e);
    v->tokenizer = v->file != NULL ? tokenizer_create(v->file, e) : NULL;
    if (v->file != NULL && v->tokenizer == NULL) {
        error_prefix(e, "%s", path);
        gguf_destroy(v->file);
    }
    mem_free(path);
    return v->tokenizer != NULL;
}

static void vocabulary_close(struct vocabulary *v)
{
    tokenizer_destroy(v->tokenizer);
    gguf_destroy(v->file);
}

struct tokenize_options {
    bool json, special, no_bos, splits, batch, time, chat, no_generation_prompt;
    struct chat_options chat_options;
    struct chat_template template; /* with chat alone */
};

static unsigned encode_flags(const struct tokenize_options *o)
{
    return (o->special ? TOKEN_PARSE_SPECIAL : 0u) |
           (o->no_bos ? 0u : TOKEN_ADD_BOS | TOKEN_ADD_EOS);
}

static void print_splits(const size_t *ends, size_t n)
{
    fputs(",\"splits\":[", stdout);
    size_t start = 0;
    for (size_t i = 0; i < n; i++) {
        printf(i > 0 ? ",%zu" : "%zu", ends[i] - start);
        start = ends[i];
    }
    putchar(']');
}

static void print_lines(const struct tokenizer *t, const struct token_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        printf("%u\t", list->ids[i]);
        print_escaped(stdout, tokenizer_piece(t, list->ids[i], true), SIZE_MAX);
        putchar('\n');
    }
}

static void print_json(const struct tokenizer *t, const struct token_list *list)
{
    fputs("{\"ids\":[", stdout);
    for (size_t i = 0; i < list->n; i++) {
        printf(i > 0 ? ",%u" : "%u", list->ids[i]);
    }
    fputs("],\"pieces\":[", stdout);
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0) {
            putchar(',');
        }
        print_json_text(stdout, tokenizer_piece(t, list->ids[i], true));
    }
    putchar(']');
}

/* The text is a conversation in its JSON form. */
static bool encode_chat(const struct tokenize_options *o, struct str text, struct token_list *out,
                        struct error *e)
{
    struct conversation c = {0};
    if (!conversation_parse(&c, text, e)) {
        e->code = e->code == ERROR_FORMAT ? ERROR_USAGE : e->code; /* no file is to blame */
        return false;
    }
    struct chat_input input = conversation_input(&c, !o->no_generation_prompt);
    bool ok = chat_template_render(&o->template, &input, out, e);
    conversation_finish(&c);
    return ok;
}

/* Tokenises and prints one document; *dropped grows by the bytes that got no token. */
static bool tokenize_document(const struct tokenizer *t, const struct tokenize_options *o,
                              struct str text, size_t *dropped, struct error *e)
{
    struct token_list list = {0};
    size_t *ends = NULL;
    bool ok = o->chat ? encode_chat(o, text, &list, e)
                      : tokenizer_encode(t, text, encode_flags(o), &list, e);
    *dropped += list.n_dropped;
    if (ok && o->splits) {
        ends = mem_alloc(text.n, sizeof *ends, "splits", e);
        ok = ends != NULL;
    }
    if (ok && o->json) {
        print_json(t, &list);
        if (o->splits) {
            print_splits(ends, tokenizer_split(t, text, ends));
        }
        fputs("}\n", stdout);
    } else if (ok) {
        print_lines(t, &list);
    }
    mem_free(ends);
    token_list_finish(&list);
    return ok;
}

/* The next document of *rest: all of it, or with --batch what stands before the next NUL. */
static struct str next_document(const struct tokenize_options *o, struct str *rest)
{
    const char *nul = o->batch ? memchr(rest->p, '\0', rest->n) : NULL;
    struct str document = {rest->p, nul != NULL ? (size_t)(nul - rest->p) : rest->n};
    *rest = str_skip(*rest, document.n + (nul != NULL ? 1 : 0));
    return document;
}

static bool tokenize_all(const struct tokenizer *t, const struct tokenize_options *o,
                         struct str text, struct error *e)
{
    size_t dropped = 0;
    bool ok = true;
    do {
        ok = tokenize_document(t, o, next_document(o, &text), &dropped, e);
    } while (ok && text.n > 0);
    if (ok) {
        cmd_warn_dropped("tokenize", dropped);
    }
    return ok;
}

/* Encodes everything once and prints how long that took. */
static bool time_all(const struct tokenizer *t, const struct tokenize_options *o, struct str text,
                     struct error *e)
{
    struct token_list list = {0};
    size_t n_bytes = text.n;
    size_t n_tokens = 0;
    uint64_t start = clock_now_ns();
    clock_t cpu_start = clock();
    bool ok = true;
    do {
        list.n = 0;
        ok = tokenizer_encode(t, next_document(o, &text), encode_flags(o), &list, e);
        n_tokens += list.n;
    } while (ok && text.n > 0);
    double seconds = clock_seconds_since(start);
    double cpu_seconds = (double)(clock() - cpu_start) / CLOCKS_PER_SEC;
    token_list_finish(&list);
    if (ok) {
        printf("{\"bytes\":%zu,\"tokens\":%zu,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n", n_bytes,
               n_tokens, seconds, cpu_seconds);
    }
    return ok;
}

static bool check_options(const struct tokenize_options *o, struct error *e)
{
    if (o->splits && !o->json) {
        return error_set(e, ERROR_USAGE, "--splits needs --json");
    }
    if (o->batch && !o->json && !o->time) {
        return error_set(e, ERROR_USAGE, "--batch needs --json or --time");
    }
    if (o->chat && (o->splits || o->special || o->no_bos || o->time)) {
        return error_set(e, ERROR_USAGE,
                         "--chat excludes --splits, --special, --no-bos and --time");
    }
    const char *chat_option =
        o->no_generation_prompt ? "--no-generation-prompt" : chat_options_given(&o->chat_options);
    if (!o->chat && chat_option != NULL) {
        return error_set(e, ERROR_USAGE, "%s needs --chat", chat_option);
    }
    return true;
}

/* Does what the options say with standard input. */
static bool tokenize_input(const struct cmd_env *env, struct tokenize_options *o, const char *model,
                           struct error *e)
{
    struct vocabulary v;
    if (!vocabulary_open(&v, env, model, e)) {
        return false;
    }
    bool has_template = o->chat && chat_options_read(&o->chat_options, e) &&
                        chat_options_open(&o->chat_options, v.file, v.tokenizer, &o->template, e);
    char *text = NULL;
    size_t n = 0;
    bool ok = has_template == o->chat && cmd_read_stdin(MAX_INPUT_BYTES, &text, &n, e) &&
              (o->time ? time_all : tokenize_all)(v.tokenizer, o, (struct str){text, n}, e);
    if (has_template) {
        chat_template_finish(&o->template);
    }
    chat_options_finish(&o->chat_options);
    mem_free(text);
    vocabulary_close(&v);
    return ok;
}

int cmd_tokenize(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "tokenize",
        .synopsis = "[OPTION]... [MODEL]",
        .about =
            "Print the tokens of the text on standard input (at most 64 MiB), one a line:\n"
            "id, tab, piece. In pieces \\n, \\t, \\r and \\\\ stand for line breaks, tabs and\n"
            "backslashes, \\xNN and \\u{N} for other control characters and for bytes that\n"
            "are not text.",
        .epilog = "MODEL is a GGUF file (a vocabulary alone is enough), a name in the model\n"
                  "folder, or nothing for the default model.",
    };
    struct tokenize_options o = {0};
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_FLAG, .name = "json", .target = &o.json,
         .help = "print {\"ids\":[...],\"pieces\":[...]}; pieces that are not\n"
                 "UTF-8 by themselves show U+FFFD"},
        {OPTION_FLAG, .name = "special", .target = &o.special,
         .help = "names of special tokens in the text become those tokens\n"
                 "(default: they are text)"},
        {OPTION_FLAG, .name = "no-bos", .target = &o.no_bos,
         .help = "add neither the begin-of-text nor the end-of-text token\n"
                 "(default: as the file says)"},
        {OPTION_FLAG, .name = "splits", .target = &o.splits,
         .help = "with --json: also \"splits\", the lengths in bytes of what\n"
                 "the pre-tokeniser cuts the text into"},
        {OPTION_FLAG, .name = "batch", .target = &o.batch,
         .help = "with --json or --time: the input is many texts, each ended\n"
                 "by a NUL byte; --json prints a line for each"},
        {OPTION_FLAG, .name = "time", .target = &o.time,
         .help = "print the number of bytes and tokens and the seconds (of the\n"
                 "clock, and of the CPU) that tokenising took, not the tokens"},
        {OPTION_FLAG, .name = "chat", .target = &o.chat,
         .help = "the input is a conversation, {\"messages\":[{\"role\":...,\n"
                 "\"content\":...},...]}, written as the model's chat template\n"
                 "does; no text in it becomes a control token"},
        OPTIONS_CHAT(o.chat_options),
        {OPTION_FLAG, .name = "no-generation-prompt", .target = &o.no_generation_prompt,
         .help = "with --chat: do not begin the assistant's next turn"},
    };
    const char *model = NULL;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    bool ok = check_options(&o, &e) && tokenize_input(env, &o, model, &e);
    return ok ? cmd_finish_output("tokenize", 0) : cmd_fail("tokenize", &e);
}

/* Prints the text of all ids. */
static bool print_text(const struct tokenizer *t, const struct token_list *list, bool special,
                       bool json, struct error *e)
{
    struct buf text;
    buf_init(&text, SIZE_MAX / 2);
    bool ok = tokenizer_decode(t, list->ids, list->n, special, &text, e);
    if (ok && json) {
        fputs("{\"text\":", stdout);
        print_json_text(stdout, buf_str(&text));
        fputs("}\n", stdout);
    } else if (ok && text.n > 0) {
        fwrite(text.data, 1, text.n, stdout);
    }
    buf_finish(&text);
    return ok;
}

int cmd_detokenize(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "detokenize",
        .synopsis = "[OPTION]... [MODEL]",
        .about = "Write the text of the token ids on standard input, separated by white space\n"
                 "or commas, or as a JSON array. The bytes come out exactly, with no newline\n"
                 "added.",
        .epilog = "MODEL is a GGUF file (a vocabulary alone is enough), a name in the model\n"
                  "folder, or nothing for the default model.",
    };
    bool json = false;
    bool special = false;
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_FLAG, .name = "json", .target = &json,
         .help = "print {\"text\":...}; bytes that are not UTF-8 show as U+FFFD"},
        {OPTION_FLAG, .name = "special", .target = &special,
         .help = "control tokens show their names (default: nothing)"},
    };
    const char *model = NULL;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    struct vocabulary v;
    if (!vocabulary_open(&v, env, model, &e)) {
        return cmd_fail("detokenize", &e);
    }
    char *input = NULL;
    size_t n = 0;
    struct token_list list = {0};
    uint32_t n_tokens = tokenizer_info(v.tokenizer)->n_tokens;
    bool ok = cmd_read_stdin(MAX_INPUT_BYTES, &input, &n, &e) &&
              ids_parse((struct str){input, n}, n_tokens, &list, &e) &&
              print_text(v.tokenizer, &list, special, json, &e);
    token_list_finish(&list);
    mem_free(input);
    vocabulary_close(&v);
    return ok ? cmd_finish_output("detokenize", 0) : cmd_fail("detokenize", &e);
}
