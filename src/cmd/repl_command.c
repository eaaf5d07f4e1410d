/* repl_command.c - the slash commands of the chat in the terminal. */
#include "cmd/repl.h"

#include "base/mem.h"
#include "cmd/print.h"
#include "cmd/repl_file.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    const char *argument; /* "" for none, else what it is */
    const char *help;
    bool (*run)(struct repl *r, struct str argument, struct error *e);
};

static bool has_system(const struct conversation *c)
{
    return c->n > 0 && c->messages[0].role == CHAT_SYSTEM;
}

/* Another conversation: what was said and measured of the one before does not count. */
static void begin_chat(struct repl *r)
{
    r->run->n_dropped = 0;
    r->has_last = false;
}

static bool command_system(struct repl *r, struct str argument, struct error *e)
{
    struct conversation fresh = {.tools = json_incref(r->conversation.tools)};
    if (!conversation_set_system(&fresh, argument, e)) {
        conversation_finish(&fresh);
        return false;
    }
    conversation_finish(&r->conversation);
    r->conversation = fresh;
    begin_chat(r);
    fprintf(stderr, "%s system message; the chat starts afresh.\n", argument.n > 0 ? "New" : "No");
    return true;
}

static bool command_clear(struct repl *r, struct str argument, struct error *e)
{
    (void)argument;
    (void)e;
    bool keeps_system = has_system(&r->conversation);
    conversation_truncate(&r->conversation, keeps_system ? 1 : 0);
    begin_chat(r);
    fprintf(stderr, "The chat starts afresh%s.\n",
            keeps_system ? ", with the same system message" : "");
    return true;
}

/* --- files */

static bool command_save(struct repl *r, struct str argument, struct error *e)
{
    struct buf json;
    buf_init(&json, REPL_FILE_BYTES);
    bool ok = conversation_print(&r->conversation, &json, e) &&
              repl_file_write(r->run->env, argument, buf_str(&json), e);
    buf_finish(&json);
    if (ok) {
        fprintf(stderr, "Saved %zu messages in %.*s.\n", r->conversation.n, STR_ARG(argument));
    }
    return ok;
}

/* A file comes with its own system message, or without one; the one before may have been meant to
 * stay. */
static void tell_system_change(const struct conversation *before, const struct conversation *now)
{
    enum { SHOWN = 60 };
    if (!has_system(before) ||
        (has_system(now) && str_eq(before->messages[0].content, now->messages[0].content))) {
        return;
    }
    if (has_system(now)) {
        fputs("Its system message takes the place of the one before: ", stderr);
        print_quoted(stderr, now->messages[0].content, SHOWN);
        putc('\n', stderr);
    } else {
        fputs("It has no system message; the one before is gone.\n", stderr);
    }
}

/* As with the system message; those that may be called without a question are none of them. */
static void change_tools(struct repl *r, const struct conversation *now)
{
    size_t n_before = json_array_size(r->conversation.tools), n = json_array_size(now->tools);
    if (json_equal(r->conversation.tools, now->tools)) {
        return;
    }
    memset(r->may_run, 0, sizeof r->may_run);
    if (n > 0 && n_before > 0) {
        fprintf(stderr, "Its tools (%zu) take the place of those before (%zu).\n", n, n_before);
    } else if (n > 0) {
        fprintf(stderr, "It has tools (%zu).\n", n);
    } else if (n_before > 0) {
        fputs("It has no tools; those before are gone.\n", stderr);
    }
}

static bool command_load(struct repl *r, struct str argument, struct error *e)
{
    struct conversation loaded = {0};
    struct buf json;
    buf_init(&json, SIZE_MAX / 2);
    bool ok = repl_file_read(r->run->env, argument, &json, e) &&
              ((conversation_parse(&loaded, buf_str(&json), e) &&
                (loaded.tools == NULL || run_tools_check(loaded.tools, e))) ||
               error_prefix(e, "%.*s", STR_ARG(argument)));
    buf_finish(&json);
    if (ok) {
        fprintf(stderr, "Loaded %zu messages from %.*s.\n", loaded.n, STR_ARG(argument));
        tell_system_change(&r->conversation, &loaded);
        change_tools(r, &loaded);
        conversation_finish(&r->conversation);
        r->conversation = loaded;
        begin_chat(r);
    } else {
        conversation_finish(&loaded);
    }
    return ok;
}

/* --- parameters: the same option table as on the command line */

static void print_parameters(const struct run_options *o)
{
    const struct sampler_params *p = &o->sampler;
    fprintf(stderr,
            "temp %g, top-k %d, top-p %g, min-p %g, typical %g, repeat-penalty %g,\n"
            "frequency-penalty %g, presence-penalty %g, repeat-last-n %d, logit-bias for %zu "
            "tokens,\nn-predict %d, seed %llu\n",
            (double)p->temperature, p->top_k, (double)p->top_p, (double)p->min_p,
            (double)p->typical_p, (double)p->repeat_penalty, (double)p->frequency_penalty,
            (double)p->presence_penalty, p->repeat_last_n, o->biases.n, o->max_tokens,
            (unsigned long long)p->seed);
}

static bool parse_parameter(struct run_options *o, char *option, char *value, struct error *e)
{
    static const struct options_usage usage = {.command = "run"};
    const struct option_spec specs[] = {RUN_OPTIONS_SAMPLING(*o)};
    const char *name = option + 2;
    bool found = false;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        bool is_option = specs[i].kind != OPTION_HEADING;
        found |= is_option && strcmp(name, specs[i].name) == 0;
        found |= is_option && specs[i].alias != NULL && strcmp(name, specs[i].alias) == 0;
    }
    if (!found) {
        return error_set(e, ERROR_USAGE, "'%s' cannot be set in the chat; /set shows what can",
                         name);
    }
    char command[] = "/set";
    char *argv[] = {command, option, value, NULL};
    const struct options_line line = {.argc = 3, .argv = argv};
    return options_parse(&usage, specs, sizeof specs / sizeof specs[0], &line, e) == OPTIONS_RUN;
}

/* "NAME VALUE" -> the options "--NAME" and "VALUE"; NAME may have underscores, as in the API. */
static bool change_parameter(struct run_options *o, struct str argument, struct error *e)
{
    enum { MAX_BYTES = 256 };
    char option[MAX_BYTES + 3], value[MAX_BYTES];
    const char *space = memchr(argument.p, ' ', argument.n);
    if (space == NULL || argument.n >= MAX_BYTES) {
        return error_set(e, ERROR_USAGE, "/set NAME VALUE, or /set alone");
    }
    size_t n_name = (size_t)(space - argument.p);
    struct str rest = str_skip(argument, n_name);
    while (str_starts_with(rest, STR(" "))) {
        rest = str_skip(rest, 1);
    }
    snprintf(option, sizeof option, "--%.*s", (int)n_name, argument.p);
    snprintf(value, sizeof value, "%.*s", STR_ARG(rest));
    for (char *c = option; *c != '\0'; c++) {
        *c = *c == '_' ? '-' : *c;
    }
    return parse_parameter(o, option, value, e);
}

static bool command_set(struct repl *r, struct str argument, struct error *e)
{
    struct run *run = r->run;
    if (argument.n > 0) {
        struct run_options *changed = mem_alloc(1, sizeof *changed, "options", e);
        if (changed == NULL) {
            return false;
        }
        *changed = run->options;
        bool ok = change_parameter(changed, argument, e) && run_set_sampler(run, changed, e);
        mem_free(changed);
        if (!ok) {
            return false;
        }
    }
    print_parameters(&run->options);
    return true;
}

/* --- the others */

static bool command_stats(struct repl *r, struct str argument, struct error *e)
{
    (void)argument;
    if (!r->has_last) {
        return error_set(e, ERROR_USAGE, "no answer yet in this chat");
    }
    run_print_stats(r->run, &r->last);
    fprintf(stderr, "context     %6u of %u tokens\n", r->run->seq->n_tokens,
            r->run->engine.options.n_ctx);
    return true;
}

static bool command_quit(struct repl *r, struct str argument, struct error *e)
{
    (void)argument;
    (void)e;
    r->quit = true;
    return true;
}

static bool command_help(struct repl *r, struct str argument, struct error *e);

static const struct command commands[] = {
    {"/help", "", "this list", command_help},
    {"/system", "TEXT", "a new system message; the chat starts afresh", command_system},
    {"/clear", "", "forget the chat but the system message", command_clear},
    {"/save", "FILE", "write the chat as JSON", command_save},
    {"/load", "FILE", "go on with a saved chat and its system message", command_load},
    {"/set", "NAME VALUE", "a sampling option, named as on the command line; alone: show",
     command_set},
    {"/stats", "", "speed of the last answer, tokens of the chat", command_stats},
    {"/quit", "", "leave (also Ctrl-D)", command_quit},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static bool command_help(struct repl *r, struct str argument, struct error *e)
{
    (void)r;
    (void)argument;
    (void)e;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(stderr, "  %-8s %-11s %s\n", commands[i].name, commands[i].argument,
                commands[i].help);
    }
    fprintf(stderr,
            "A call of a tool waits for its answer; an empty one takes your message back.\n"
            "A line that ends with \\ goes on; \"\"\" begins and ends a text of many lines;\n"
            "a pasted text is one message. Ctrl-C stops an answer.\n");
    return true;
}

static struct str trim_spaces(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = str_skip(s, 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

bool repl_command(struct repl *r, struct str line, struct error *e)
{
    size_t n_name = 0;
    while (n_name < line.n && line.p[n_name] != ' ' && line.p[n_name] != '\t') {
        n_name++;
    }
    struct str name = {line.p, n_name}, argument = trim_spaces(str_skip(line, n_name));
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (!str_eq(name, str_from(commands[i].name))) {
            continue;
        }
        if (commands[i].argument[0] == '\0' && argument.n > 0) {
            return error_set(e, ERROR_USAGE, "%s takes no argument", commands[i].name);
        }
        return commands[i].run(r, argument, e);
    }
    return error_set(e, ERROR_USAGE,
                     "unknown command %.*s (/help lists them; begin with \"\"\" to send this text)",
                     STR_ARG(name));
}
