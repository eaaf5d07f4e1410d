/* repl_calls.c - calls of tools in the chat: each is shown, and answered by the user or, where he
 * allows it, by a program of his. */
#include "cmd/repl.h"

#include "base/program.h"
#include "cmd/print.h"

#include <stdio.h>

enum {
    MAX_OUTPUT_BYTES = 1 << 20, /* of a program */
    MAX_ANSWER_BYTES = MAX_OUTPUT_BYTES + 2 * ERROR_TEXT_BYTES,
    MAX_ROUNDS_ALONE = 16,
    SHOWN = 400
};

static void show_call(const struct chat_call *call)
{
    print_escaped(stderr, call->name, SIZE_MAX);
    putc('(', stderr);
    print_json_line(stderr, call->arguments);
    fputs(")\n", stderr);
}

/* Asks until there is a text; *out_text is false when the user wants to leave it. */
static bool ask(struct repl *r, const char *prompt, struct buf *out, bool *out_text,
                struct error *e)
{
    enum repl_event event = REPL_DISCARDED;
    while (event == REPL_DISCARDED) {
        buf_clear(out);
        run_interrupted = 0;
        if (!repl_input_ask(r->input, prompt, out, &event, e)) {
            return false;
        }
    }
    run_interrupted = 0;
    r->n_rounds_alone = 0;
    *out_text = event == REPL_MESSAGE;
    return true;
}

/* --- by the user */

static bool answer_by_user(struct repl *r, struct buf *out, bool *out_answered, struct error *e)
{
    bool is_text = false;
    if (!ask(r, "answer> ", out, &is_text, e)) {
        return false;
    }
    *out_answered = is_text && out->n > 0;
    return true;
}

/* --- by a program */

enum consent { CONSENT_YES, CONSENT_NO, CONSENT_LEAVES };

static bool read_consent(struct str said, enum consent *out, bool *out_always)
{
    static const struct {
        const char *word, *letter;
        enum consent consent;
        bool is_always;
    } answers[] = {{"yes", "y", CONSENT_YES, false},
                   {"no", "n", CONSENT_NO, false},
                   {"always", "a", CONSENT_YES, true}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (str_eq(said, str_from(answers[i].word)) || str_eq(said, str_from(answers[i].letter))) {
            *out = answers[i].consent;
            *out_always = answers[i].is_always;
            return true;
        }
    }
    return false;
}

/* What was typed before the question is no answer to it. */
static bool ask_consent(struct repl *r, const struct chat_call *call, enum consent *out,
                        bool *out_always, struct error *e)
{
    struct buf said;
    buf_init(&said, REPL_MESSAGE_BYTES);
    bool ok = true, is_text = true, is_consent = false;
    repl_input_drop();
    fputs("run ", stderr);
    print_escaped(stderr, str_from(r->run->options.tool_command), SIZE_MAX);
    putc(' ', stderr);
    print_escaped(stderr, call->name, SIZE_MAX);
    fputs("?\n", stderr);
    while (ok && is_text && !is_consent) {
        ok = ask(r, "[y]es, [n]o, [a]lways for this tool: ", &said, &is_text, e);
        is_consent = ok && is_text && read_consent(buf_str(&said), out, out_always);
    }
    *out = is_consent ? *out : CONSENT_LEAVES;
    buf_finish(&said);
    return ok;
}

/* What the model is told: the output without its last line break, or what went wrong, and then the
 * output of a program that says by its code that it failed. */
static bool write_answer(const struct repl *r, const struct program_result *result,
                         struct str output, struct buf *out, struct error *e)
{
    const char *name = r->run->options.tool_command;
    output.n -= output.n > 0 && output.p[output.n - 1] == '\n';
    switch (result->end) {
    case PROGRAM_KILLED:
        return buf_printf(out, e, "error: %s was ended by signal %d", name, result->number);
    case PROGRAM_OUT_OF_TIME:
        return buf_printf(out, e, "error: %s was ended after %u seconds", name,
                          r->run->options.tool_timeout);
    case PROGRAM_TOO_LONG:
        return buf_printf(out, e, "error: %s was ended, it wrote more than %d bytes", name,
                          MAX_OUTPUT_BYTES);
    default:
        break;
    }
    if (!str_is_utf8(output)) {
        return buf_printf(out, e, "error: %s wrote what is not UTF-8", name);
    }
    return (result->number == 0 || buf_printf(out, e, "error: %s ended with code %d%s", name,
                                              result->number, output.n > 0 ? "\n" : "")) &&
           buf_append(out, output, e);
}

/* *out_answered is false when the user has ended the program. */
static bool answer_by_program(struct repl *r, const struct chat_call *call, struct buf *out,
                              bool *out_answered, struct error *e)
{
    char name[RUN_MAX_TOOL_CHARS + 1];
    snprintf(name, sizeof name, "%.*s", STR_ARG(call->name));
    char *arguments[] = {r->run->tool_command, name, NULL};
    const struct program program = {.path = r->run->tool_command,
                                    .arguments = arguments,
                                    .environment = r->run->env->all,
                                    .input = call->arguments,
                                    .timeout_ms = r->run->options.tool_timeout * 1000,
                                    .stop = &run_interrupted};
    struct program_result result;
    struct error why = {0};
    struct buf output;
    buf_init(&output, MAX_OUTPUT_BYTES);
    run_interrupted = 0;
    bool ok = true, ran = program_run(&program, &output, &result, &why);
    *out_answered = !ran || result.end != PROGRAM_STOPPED;
    if (!*out_answered) {
        fputs("(stopped; answer yourself, or take your message back with an empty line)\n", stderr);
    } else {
        ok = ran ? write_answer(r, &result, buf_str(&output), out, e)
                 : buf_printf(out, e, "error: %s", why.text);
        fputs("= ", stderr);
        print_escaped(stderr, buf_str(out), SHOWN);
        putc('\n', stderr);
    }
    run_interrupted = 0;
    buf_finish(&output);
    return ok;
}

/* --- all of them */

static bool answer_call(struct repl *r, const struct run_calls *calls, const struct chat_call *call,
                        struct buf *out, bool *out_answered, struct error *e)
{
    size_t tool = (size_t)(tool_set_find(&calls->set, call->name) - calls->set.tools);
    enum consent consent = CONSENT_NO;
    bool is_always = false, is_answered = false;
    show_call(call);
    if (r->run->options.tool_command != NULL && r->may_run[tool]) {
        consent = CONSENT_YES;
    } else if (r->run->options.tool_command != NULL) {
        if (!ask_consent(r, call, &consent, &is_always, e)) {
            return false;
        }
        r->may_run[tool] = is_always;
    }
    if (consent == CONSENT_YES && !answer_by_program(r, call, out, &is_answered, e)) {
        return false;
    }
    if (!is_answered && consent != CONSENT_LEAVES && !answer_by_user(r, out, &is_answered, e)) {
        return false;
    }
    *out_answered = is_answered;
    return true;
}

bool repl_answer_calls(struct repl *r, const struct run_calls *calls, bool *out_answered,
                       struct error *e)
{
    struct buf text;
    bool ok = true;
    if (!r->run->template.support.tool_answers) {
        return error_set(e, ERROR_UNSUPPORTED,
                         "the model's chat template leaves out what tools answer");
    }
    buf_init(&text, MAX_ANSWER_BYTES);
    if (r->n_rounds_alone == MAX_ROUNDS_ALONE) {
        memset(r->may_run, 0, sizeof r->may_run);
        fprintf(stderr, "(%d rounds of calls without you: you are asked again)\n",
                MAX_ROUNDS_ALONE);
    }
    r->n_rounds_alone++;
    *out_answered = true;
    for (size_t i = 0; ok && *out_answered && i < calls->n; i++) {
        const struct chat_call *call = &calls->calls[i];
        buf_clear(&text);
        ok = answer_call(r, calls, call, &text, out_answered, e);
        const struct chat_message m = {.role = CHAT_TOOL,
                                       .content = text.n > 0 ? buf_str(&text) : STR(""),
                                       .call_id = call->id};
        ok = ok && (!*out_answered || conversation_add_message(&r->conversation, &m, e));
    }
    buf_finish(&text);
    return ok;
}
