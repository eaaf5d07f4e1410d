/* repl.c - the chat in the terminal: libedit with history, commands, multi-line input. */
#include "cmd/run.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_MESSAGE_BYTES = 1 << 20, MAX_FILE_BYTES = 64 << 20, HISTORY_LINES = 1000 };

struct repl {
    struct run *run;
    struct conversation conversation;
    struct generate_stats last;
    bool has_last, quit;
    EditLine *editor;
    History *history;
    char *history_path;
};

struct command {
    const char *name, *arguments, *help;
    bool (*run)(struct repl *r, struct str argument, struct error *e);
};

static bool command_help(struct repl *r, struct str argument, struct error *e);

static bool command_system(struct repl *r, struct str argument, struct error *e)
{
    conversation_truncate(&r->conversation, 0);
    if (!conversation_set_system(&r->conversation, argument, e)) {
        return false;
    }
    fprintf(stderr, argument.n > 0 ? "New system message; the chat starts afresh.\n"
                                   : "No system message; the chat starts afresh.\n");
    return true;
}

static bool command_clear(struct repl *r, struct str argument, struct error *e)
{
    (void)argument;
    (void)e;
    bool has_system = r->conversation.n > 0 && r->conversation.messages[0].role == CHAT_SYSTEM;
    conversation_truncate(&r->conversation, has_system ? 1 : 0);
    fprintf(stderr, "The chat starts afresh%s.\n",
            has_system ? ", with the same system message" : "");
    return true;
}

static bool file_failed(const char *path, struct error *e)
{
    return error_set(e, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%s: %s", path,
                     strerror(errno));
}

static bool copy_path(struct str argument, char *path, size_t capacity, struct error *e)
{
    if (argument.n == 0 || argument.n + 5 > capacity) {
        return error_set(e, ERROR_USAGE, "name a file");
    }
    snprintf(path, capacity, "%.*s", STR_ARG(argument));
    return true;
}

/* Written beside the file and renamed, so that the name never stands for half a conversation. */
static bool command_save(struct repl *r, struct str argument, struct error *e)
{
    char path[4096], part[4096 + 8];
    struct buf json;
    buf_init(&json, MAX_FILE_BYTES);
    bool ok =
        copy_path(argument, path, sizeof path, e) && conversation_print(&r->conversation, &json, e);
    if (ok) {
        snprintf(part, sizeof part, "%s.part", path);
        FILE *f = fopen(part, "wb");
        ok = f != NULL && fwrite(json.data, 1, json.n, f) == json.n && fflush(f) == 0 &&
             fsync(fileno(f)) == 0;
        if (f != NULL && fclose(f) != 0) {
            ok = false;
        }
        if (!ok || rename(part, path) != 0) {
            ok = file_failed(path, e);
            unlink(part);
        } else {
            fprintf(stderr, "Saved %zu messages in %s.\n", r->conversation.n, path);
        }
    }
    buf_finish(&json);
    return ok;
}

static bool command_load(struct repl *r, struct str argument, struct error *e)
{
    char path[4096];
    if (!copy_path(argument, path, sizeof path, e)) {
        return false;
    }
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return file_failed(path, e);
    }
    struct buf json;
    buf_init(&json, MAX_FILE_BYTES);
    bool ok = true;
    size_t n = 1;
    while (ok && n > 0) {
        ok = buf_reserve(&json, 1 << 16, e);
        n = ok ? fread(json.data + json.n, 1, 1 << 16, f) : 0;
        json.n += n;
    }
    if (ok && ferror(f)) {
        ok = file_failed(path, e);
    }
    fclose(f);
    ok = ok &&
         (conversation_parse(&r->conversation, buf_str(&json), e) || error_prefix(e, "%s", path));
    buf_finish(&json);
    if (ok) {
        fprintf(stderr, "Loaded %zu messages from %s.\n", r->conversation.n, path);
    }
    return ok;
}

static bool set_float(struct str value, float *out, struct error *e)
{
    char text[64], *end;
    snprintf(text, sizeof text, "%.*s", value.n < 60 ? (int)value.n : 60, value.p);
    float f = strtof(text, &end);
    if (end == text || *end != '\0') {
        return error_set(e, ERROR_USAGE, "'%s' is not a number", text);
    }
    *out = f;
    return true;
}

/* One parameter by its option's name; the new values hold from the next answer on. */
static bool set_parameter(struct run_options *o, struct str name, struct str value, struct error *e)
{
    struct sampler_params *p = &o->sampler;
    const struct {
        struct str name;
        float *target;
    } floats[] = {{STR("temp"), &p->temperature},
                  {STR("top-p"), &p->top_p},
                  {STR("min-p"), &p->min_p},
                  {STR("typical"), &p->typical_p},
                  {STR("repeat-penalty"), &p->repeat_penalty},
                  {STR("frequency-penalty"), &p->frequency_penalty},
                  {STR("presence-penalty"), &p->presence_penalty}};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (str_eq(name, floats[i].name)) {
            return set_float(value, floats[i].target, e);
        }
    }
    float number = 0.0f;
    bool is_integer = str_eq(name, STR("top-k")) || str_eq(name, STR("n-predict")) ||
                      str_eq(name, STR("repeat-last-n")) || str_eq(name, STR("seed"));
    if (!is_integer) {
        return error_set(e, ERROR_USAGE, "no parameter '%.*s'", STR_ARG(name));
    }
    if (!set_float(value, &number, e)) {
        return false;
    }
    if (number != (float)(int32_t)number || number < -1) {
        return error_set(e, ERROR_USAGE, "'%.*s' is not a whole number from -1", STR_ARG(value));
    }
    if (str_eq(name, STR("top-k"))) {
        p->top_k = (int32_t)number;
    } else if (str_eq(name, STR("n-predict"))) {
        o->max_tokens = (int32_t)number;
    } else if (str_eq(name, STR("repeat-last-n"))) {
        p->repeat_last_n = (int32_t)number;
    } else {
        p->seed = number < 0 ? 0 : (uint64_t)number;
    }
    return true;
}

static void print_parameters(const struct run_options *o)
{
    const struct sampler_params *p = &o->sampler;
    fprintf(
        stderr,
        "temp %g, top-k %d, top-p %g, min-p %g, typical %g, repeat-penalty %g,\n"
        "frequency-penalty %g, presence-penalty %g, repeat-last-n %d, n-predict %d, seed %llu\n",
        (double)p->temperature, p->top_k, (double)p->top_p, (double)p->min_p, (double)p->typical_p,
        (double)p->repeat_penalty, (double)p->frequency_penalty, (double)p->presence_penalty,
        p->repeat_last_n, o->max_tokens, (unsigned long long)p->seed);
}

static bool command_set(struct repl *r, struct str argument, struct error *e)
{
    if (argument.n == 0) {
        print_parameters(&r->run->options);
        return true;
    }
    const char *space = memchr(argument.p, ' ', argument.n);
    if (space == NULL) {
        return error_set(e, ERROR_USAGE, "/set NAME VALUE");
    }
    size_t n_name = (size_t)(space - argument.p);
    struct run_options changed = r->run->options;
    if (!set_parameter(&changed, (struct str){argument.p, n_name}, str_skip(argument, n_name + 1),
                       e)) {
        return false;
    }
    struct engine *engine = &r->run->engine;
    if (!sampler_params_check(&changed.sampler, engine->options.n_choices, e)) {
        return false;
    }
    struct sampler sampler;
    if (!sampler_init(&sampler, &changed.sampler, engine->options.n_choices, e)) {
        return false;
    }
    sampler_finish(&r->run->seq->sampler);
    r->run->seq->sampler = sampler;
    r->run->options = changed;
    print_parameters(&changed);
    return true;
}

static bool command_stats(struct repl *r, struct str argument, struct error *e)
{
    (void)argument;
    if (!r->has_last) {
        return error_set(e, ERROR_USAGE, "no answer yet");
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

static const struct command commands[] = {
    {"/help", "", "this list", command_help},
    {"/system", "TEXT", "a new system message; the chat starts afresh", command_system},
    {"/clear", "", "forget the chat", command_clear},
    {"/save", "FILE", "write the chat as JSON", command_save},
    {"/load", "FILE", "go on with a saved chat", command_load},
    {"/set", "NAME VALUE", "a sampling parameter, as the options name them; alone: show",
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
        fprintf(stderr, "  %-8s %-11s %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
    }
    fprintf(stderr,
            "A line that ends with \\ goes on; \"\"\" begins and ends a text of many lines.\n"
            "Ctrl-C stops an answer.\n");
    return true;
}

static bool run_command(struct repl *r, struct str line, struct error *e)
{
    const char *space = memchr(line.p, ' ', line.n);
    size_t n_name = space != NULL ? (size_t)(space - line.p) : line.n;
    struct str name = {line.p, n_name};
    struct str argument = str_skip(line, space != NULL ? n_name + 1 : n_name);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (str_eq(name, str_from(commands[i].name))) {
            return commands[i].run(r, argument, e);
        }
    }
    return error_set(e, ERROR_USAGE, "unknown command %.*s (see /help)", STR_ARG(name));
}

/* ---- turns ---- */

static bool answer_turn(struct repl *r, struct str text, struct error *e)
{
    size_t n_before = r->conversation.n;
    struct buf said;
    buf_init(&said, MAX_FILE_BYTES);
    bool ok = conversation_add(&r->conversation, CHAT_USER, text, e) &&
              run_conversation(r->run, &r->conversation, &said, &r->last, e) &&
              conversation_add(&r->conversation, CHAT_ASSISTANT, buf_str(&said), e);
    buf_finish(&said);
    if (!ok) {
        conversation_truncate(&r->conversation, n_before);
        if (e->code == ERROR_CONTEXT) {
            fprintf(stderr, "The chat is as before your message; /clear starts afresh.\n");
        }
        return false;
    }
    r->has_last = true;
    putchar('\n');
    fflush(stdout);
    if (r->last.end == GENERATE_STOPPED) {
        fprintf(stderr, "(stopped)\n");
    } else if (r->last.end == GENERATE_CONTEXT) {
        fprintf(stderr, "(the context of %u tokens is full: /clear starts afresh)\n",
                r->run->engine.options.n_ctx);
    }
    return true;
}

/* ---- input ---- */

static const char *main_prompt(EditLine *editor)
{
    (void)editor;
    return "> ";
}

static const char *more_prompt(EditLine *editor)
{
    (void)editor;
    return ". ";
}

/* True when bytes wait already: lines of one paste come faster than hands type. */
static bool input_waits(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    struct timeval at_once = {0, 20000};
    return select(STDIN_FILENO + 1, &set, NULL, NULL, &at_once) > 0;
}

/* One line without its newline; false at the end of input. */
static bool read_line(struct repl *r, struct str *out)
{
    int n = 0;
    const char *line = el_gets(r->editor, &n);
    if (line == NULL || n <= 0) {
        return false;
    }
    *out = (struct str){line, (size_t)n - (line[n - 1] == '\n')};
    return true;
}

/* A message: a line, a pasted block of lines, lines joined by \, or a text in triple quotes. */
static bool read_message(struct repl *r, struct buf *out, struct error *e)
{
    struct str line;
    el_set(r->editor, EL_PROMPT, main_prompt);
    if (!read_line(r, &line)) {
        r->quit = true;
        return true;
    }
    bool quoted = str_starts_with(line, STR("\"\"\""));
    line = str_skip(line, quoted ? 3 : 0);
    el_set(r->editor, EL_PROMPT, more_prompt);
    for (;;) {
        bool closes = quoted && line.n >= 3 && memcmp(line.p + line.n - 3, "\"\"\"", 3) == 0;
        bool goes_on = !quoted && line.n > 0 && line.p[line.n - 1] == '\\';
        size_t n = line.n - (closes ? 3 : goes_on ? 1 : 0);
        if (!buf_append(out, (struct str){line.p, n}, e)) {
            return false;
        }
        if (closes || (!quoted && !goes_on && !input_waits())) {
            return true;
        }
        if (!buf_append_byte(out, '\n', e)) {
            return false;
        }
        if (!read_line(r, &line)) {
            return true;
        }
    }
}

static void remember(struct repl *r, struct str message)
{
    HistEvent event;
    char line[4096];
    if (message.n > 0 && message.n < sizeof line && memchr(message.p, '\n', message.n) == NULL) {
        snprintf(line, sizeof line, "%.*s", STR_ARG(message));
        history(r->history, &event, H_ENTER, line);
    }
}

static bool one_turn(struct repl *r, struct error *e)
{
    struct buf message;
    buf_init(&message, MAX_MESSAGE_BYTES);
    bool ok = read_message(r, &message, e);
    struct str text = buf_str(&message);
    if (ok && !r->quit && text.n > 0) {
        remember(r, text);
        ok = text.p[0] == '/' ? run_command(r, text, e) : answer_turn(r, text, e);
    }
    buf_finish(&message);
    return ok;
}

/* ---- set-up ---- */

static void ignore_interrupt(int number)
{
    (void)number;
}

static void make_parent(char *path)
{
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
}

static bool open_editor(struct repl *r, struct error *e)
{
    HistEvent event;
    r->editor = el_init("puna", stdin, stdout, stderr);
    r->history = history_init();
    if (r->editor == NULL || r->history == NULL) {
        return error_set(e, ERROR_MEMORY, "out of memory: line editor");
    }
    history(r->history, &event, H_SETSIZE, HISTORY_LINES);
    el_set(r->editor, EL_HIST, history, r->history);
    el_set(r->editor, EL_EDITOR, "emacs");
    el_set(r->editor, EL_SIGNAL, 1);
    r->history_path =
        cmd_user_path(r->run->env, r->run->env->xdg_state_home, ".local/state", "history", NULL);
    if (r->history_path != NULL) {
        make_parent(r->history_path);
        history(r->history, &event, H_LOAD, r->history_path);
    }
    return true;
}

static void close_editor(struct repl *r)
{
    HistEvent event;
    if (r->history != NULL) {
        if (r->history_path != NULL) {
            history(r->history, &event, H_SAVE, r->history_path);
        }
        history_end(r->history);
    }
    if (r->editor != NULL) {
        el_end(r->editor);
    }
    mem_free(r->history_path);
    conversation_finish(&r->conversation);
}

bool repl_run(struct run *run, struct error *e)
{
    struct repl r = {.run = run};
    struct sigaction action = {.sa_handler = ignore_interrupt}, before;
    sigaction(SIGINT, &action, &before);
    bool ok = open_editor(&r, e) &&
              (run->options.system == NULL ||
               conversation_set_system(&r.conversation, str_from(run->options.system), e));
    if (ok) {
        fprintf(stderr, "%s; /help lists the commands, Ctrl-D leaves.\n", run->session.path);
    }
    while (ok && !r.quit) {
        struct error turn = {0};
        if (!one_turn(&r, &turn)) {
            fprintf(stderr, "%s\n", turn.text);
        }
    }
    close_editor(&r);
    sigaction(SIGINT, &before, NULL);
    return ok;
}
