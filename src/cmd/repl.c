/* repl.c - the chat in the terminal: read, obey or answer, until the user leaves. */
#include "cmd/repl.h"

#include "cmd/print.h"
#include "cmd/repl_input.h"

#include <stdio.h>

enum { MAX_ANSWER_BYTES = 64 << 20 };

/* What the model said joins the conversation; without a word of it the chat is as before. */
static bool keep_answer(struct repl *r, const struct generate_stats *stats, struct str said,
                        struct error *e)
{
    if (stats->end == GENERATE_STOPPED && said.n == 0) {
        conversation_truncate(&r->conversation, r->conversation.n - 1);
        fprintf(stderr, "(stopped; the chat is as before your message)\n");
        return true;
    }
    putchar('\n');
    fflush(stdout);
    if (stats->end == GENERATE_STOPPED) {
        fprintf(stderr, "(stopped)\n");
    } else if (stats->end == GENERATE_LENGTH) {
        fprintf(stderr, "(cut after %u tokens, as n-predict says)\n", stats->n_answer);
    } else if (stats->end == GENERATE_CONTEXT) {
        fprintf(stderr, "(the context of %u tokens is full: /clear starts afresh)\n",
                r->run->engine.options.n_ctx);
    }
    return conversation_add(&r->conversation, CHAT_ASSISTANT, said, e);
}

static bool answer_turn(struct repl *r, struct str text, struct error *e)
{
    size_t n_before = r->conversation.n, n_dropped_before = r->run->n_dropped;
    struct generate_stats stats = {0};
    struct buf said;
    buf_init(&said, MAX_ANSWER_BYTES);
    bool ok = conversation_add(&r->conversation, CHAT_USER, text, e) &&
              run_conversation(r->run, &r->conversation, &said, &stats, e);
    ok = ok && keep_answer(r, &stats, buf_str(&said), e);
    if (ok && stats.n_answer > 0) {
        r->last = stats;
        r->has_last = true;
    }
    if (ok && r->run->options.stats && r->has_last) {
        run_print_stats(r->run, &r->last);
    }
    if (!ok) {
        conversation_truncate(&r->conversation, n_before);
        const struct error why = *e;
        error_set(e, why.code, "%s; the chat is as before your message%s", why.text,
                  why.code == ERROR_CONTEXT ? ", /clear starts afresh" : "");
    }
    if (r->conversation.n == n_before) {
        r->run->n_dropped = n_dropped_before;
    }
    buf_finish(&said);
    return ok;
}

/* False when the chat is to end with *e; what goes wrong in a turn is said and the chat goes on. */
static bool one_turn(struct repl *r, struct repl_input *in, bool *interrupted, struct error *e)
{
    struct buf text;
    buf_init(&text, REPL_MESSAGE_BYTES);
    struct error turn = {0};
    enum repl_event event = REPL_MESSAGE;
    run_interrupted = 0;
    bool ok = repl_input_read(in, &text, &event, &turn);
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
    struct repl r = {.run = run};
    struct repl_input in;
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigaction(SIGINT, &action, &before);
    bool ok = repl_input_open(&in, run->env, e) &&
              (run->options.system == NULL ||
               conversation_set_system(&r.conversation, str_from(run->options.system), e));
    if (ok) {
        print_escaped(stderr, str_from(run->session.path), SIZE_MAX);
        fprintf(stderr, "; /help lists the commands, Ctrl-D leaves.\n");
    }
    bool interrupted = false;
    while (ok && !r.quit) {
        ok = one_turn(&r, &in, &interrupted, e);
    }
    repl_input_close(&in);
    conversation_finish(&r.conversation);
    sigaction(SIGINT, &before, NULL);
    return ok;
}
