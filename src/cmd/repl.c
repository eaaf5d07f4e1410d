/* repl.c - the chat in the terminal: read, obey or answer, until the user leaves. */
#include "cmd/repl.h"

#include "cmd/print.h"

#include <stdio.h>

/* What became of a turn when the model has answered. */
enum turn { TURN_GOES_ON, TURN_ENDS, TURN_TAKEN_BACK };

static void say_why_it_ended(const struct repl *r, const struct generate_stats *stats)
{
    if (stats->end == GENERATE_STOPPED) {
        fprintf(stderr, "(stopped)\n");
    } else if (stats->end == GENERATE_LENGTH) {
        fprintf(stderr, "(cut after %u tokens, as n-predict says)\n", stats->n_answer);
    } else if (stats->end == GENERATE_CONTEXT) {
        fprintf(stderr, "(the context of %u tokens is full: /clear starts afresh)\n",
                r->run->engine.options.n_ctx);
    }
}

/* What the model said joins the conversation, and its calls are answered unless the user has
 * stopped it or no answer has room; without a word of it the chat is as before. */
static bool keep_answer(struct repl *r, const struct run_answer *a, enum turn *out, struct error *e)
{
    bool is_stopped = a->stats.end == GENERATE_STOPPED;
    bool has_calls = a->calls.n > 0 && !is_stopped && a->stats.end != GENERATE_CONTEXT;
    if (is_stopped && a->text.n == 0) {
        fprintf(stderr, "(stopped; the chat is as before your message)\n");
        *out = TURN_TAKEN_BACK;
        return true;
    }
    say_why_it_ended(r, &a->stats);
    if (r->run->options.stats && r->has_last) {
        run_print_stats(r->run, &r->last);
    }
    struct chat_message m = {.role = CHAT_ASSISTANT,
                             .content = a->text.n > 0 || has_calls ? buf_str(&a->text) : STR(""),
                             .calls = a->calls.calls,
                             .n_calls = has_calls ? a->calls.n : 0};
    bool is_answered = true;
    bool ok = conversation_add_message(&r->conversation, &m, e) &&
              (!has_calls || repl_answer_calls(r, &a->calls, &is_answered, e));
    if (ok && !is_answered) {
        fprintf(stderr, "(not answered; the chat is as before your message)\n");
    }
    *out = !is_answered ? TURN_TAKEN_BACK : has_calls ? TURN_GOES_ON : TURN_ENDS;
    return ok;
}

static bool answer_once(struct repl *r, enum turn *out, struct error *e)
{
    struct run_answer a = {0};
    bool ok = run_conversation(r->run, &r->conversation, &a, e);
    if (ok && a.stats.n_answer > 0) {
        r->last = a.stats;
        r->has_last = true;
    }
    ok = ok && keep_answer(r, &a, out, e);
    run_answer_finish(&a);
    return ok;
}

static bool answer_turn(struct repl *r, struct str text, struct error *e)
{
    size_t n_before = r->conversation.n, n_dropped_before = r->run->n_dropped;
    enum turn turn = TURN_GOES_ON;
    bool ok = conversation_add(&r->conversation, CHAT_USER, text, e);
    r->n_rounds_alone = 0;
    while (ok && turn == TURN_GOES_ON) {
        ok = answer_once(r, &turn, e);
    }
    if (!ok || turn == TURN_TAKEN_BACK) {
        conversation_truncate(&r->conversation, n_before);
        r->run->n_dropped = n_dropped_before;
    }
    if (!ok) {
        const struct error why = *e;
        error_set(e, why.code, "%s; the chat is as before your message%s", why.text,
                  why.code == ERROR_CONTEXT ? ", /clear starts afresh" : "");
    }
    return ok;
}

/* False when the chat is to end with *e; what goes wrong in a turn is said and the chat goes on. */
static bool one_turn(struct repl *r, bool *interrupted, struct error *e)
{
    struct buf text;
    buf_init(&text, REPL_MESSAGE_BYTES);
    struct error turn = {0};
    enum repl_event event = REPL_MESSAGE;
    run_interrupted = 0;
    bool ok = repl_input_read(r->input, &text, &event, &turn);
    bool again = event == REPL_INTERRUPTED && *interrupted;
    *interrupted = event == REPL_INTERRUPTED;
    if (!ok || again || event == REPL_DISCARDED) {
        /* an error is said below */
    } else if (event == REPL_INTERRUPTED) {
        fprintf(stderr, "(Ctrl-C again or Ctrl-D leaves)\n");
    } else if (event == REPL_END) {
        r->quit = true;
    } else if (event == REPL_COMMAND) {
        ok = repl_command(r, buf_str(&text), &turn);
    } else if (text.n > 0) {
        ok = answer_turn(r, buf_str(&text), &turn);
    }
    if (!ok) {
        print_escaped(stderr, str_from(turn.text), SIZE_MAX);
        putc('\n', stderr);
    }
    buf_finish(&text);
    return !again || error_set(e, ERROR_INTERRUPTED, "interrupted");
}

/* Reading ends with EINTR and the chat goes on; after reading, it stops the answer. */
static void on_interrupt(int number)
{
    (void)number;
    run_interrupted = 1;
}

bool repl_run(struct run *run, struct error *e)
{
    struct repl_input in;
    struct repl r = {.run = run, .input = &in, .conversation = {.tools = json_incref(run->tools)}};
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigaction(SIGINT, &action, &before);
    signal(SIGCHLD, SIG_DFL); /* ignored, as who starts us may have left it, it hides ends */
    bool ok = repl_input_open(&in, run->env, e) &&
              (run->options.system == NULL ||
               conversation_set_system(&r.conversation, str_from(run->options.system), e));
    if (ok) {
        print_escaped(stderr, str_from(run->session.path), SIZE_MAX);
        fprintf(stderr, "; /help lists the commands, Ctrl-D leaves.\n");
    }
    bool interrupted = false;
    while (ok && !r.quit) {
        ok = one_turn(&r, &interrupted, e);
    }
    repl_input_close(&in);
    conversation_finish(&r.conversation);
    sigaction(SIGINT, &before, NULL);
    return ok;
}
