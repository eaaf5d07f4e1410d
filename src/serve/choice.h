/* choice.h - one choice of an answer: sampled tokens go in, text comes out until the choice ends.
 *
 * Text leaves in whole code points, without the tokens and strings that ended it, and as soon as it
 * can be part neither of a stop string nor of what the content filter may yet find, and, where
 * tools are offered, is known to be content or part of a call. Belongs to the engine thread. */
#ifndef SERVE_CHOICE_H
#define SERVE_CHOICE_H

#include "chat/tool_parser.h"
#include "engine/logprobs.h"
#include "guard/guard.h"
#include "serve/stop.h"
#include "token/token.h"

enum { CHOICE_MAX_TOP = 20 };

/* The same for all choices of a request, which owns it. */
struct choice_rules {
    const struct tokenizer *tokenizer;
    const struct str *stops; /* (n_stops), see stop.h */
    size_t n_stops;
    const uint32_t *stop_ids; /* (n_stop_ids) */
    size_t n_stop_ids;
    const struct guard *guard;    /* NULL: no content filter */
    const struct tool_set *tools; /* NULL: none are offered, all text is content */
    enum tool_format tool_format; /* that is listened for, with tools */
    enum tool_framing framing;    /* which calls have frames, with tools */
    bool one_call;                /* the choice ends with its first call */
    uint32_t max_tokens;
    uint32_t min_tokens; /* only the content filter, one_call and a grammar end it before so many
                            others */
    bool has_grammar; /* a token that ends is drawn before min_tokens where nothing else can be */
    bool ignore_eos;
    bool logprobs;  /* entries are wanted */
    bool tells_end; /* ... of the token that ended it, too */
    uint32_t n_top; /* at most CHOICE_MAX_TOP */
};

enum choice_end { CHOICE_RUNS, CHOICE_STOP, CHOICE_LENGTH, CHOICE_FILTERED };

/* What is told of a token of the text. */
struct choice_logprob {
    struct logprob chosen;
    struct logprob top[CHOICE_MAX_TOP]; /* the rules' n_top of them */
    size_t text_end;                    /* bytes of the choice's text up to and with this token */
};

struct choice {
    const struct choice_rules *rules;
    struct token_stream stream;
    struct stop stop;
    struct guard_text guard;
    struct tool_parser *parser; /* NULL without tools */
    struct buf piece;           /* of the last token */
    struct buf passed;          /* by the stop strings */
    struct buf judged;          /* by the content filter, with tools */
    uint32_t n_tokens;          /* sampled, those that ended it too */
    size_t text_bytes;          /* of all tokens so far, stop strings and all */
    size_t judged_bytes;        /* of them that the content filter let go */
    enum choice_end end;
};

/* rules must outlive the choice. ERROR_MEMORY: it can only be finished. */
bool choice_init(struct choice *c, const struct choice_rules *rules, struct error *e);
void choice_finish(struct choice *c);

/* Takes the next token while c->end is CHOICE_RUNS, appends what can leave to *out and sets c->end.
 * Without tools out has no spans: all is content. A call that is the only one wanted ends the
 * choice with CHOICE_STOP. ERROR_MEMORY. */
bool choice_push(struct choice *c, uint32_t token, struct tool_output *out, struct error *e);

/* Ends a running choice that can get no more tokens: CHOICE_LENGTH. */
bool choice_cut(struct choice *c, struct tool_output *out, struct error *e);

/* How many of the first bytes of its tokens' text are done with: out, as content or part of a call,
 * or left out for good. */
size_t choice_released(const struct choice *c);

#endif
