/* guard.h - the content filter: judges look at the text of prompts and answers, category by
 * category, and a text leaves when no judge has anything left to say about it.
 *
 * A judge reads one text as it comes and says what it found and how far it is done; this file holds
 * back the rest, adds up what was found and cuts where that is wanted. It never sees or changes a
 * token: what is sampled is the same with and without it. Text is UTF-8 in whole code points, and
 * so is what leaves; how it was cut into pieces does not matter.
 * Owner/threads: a struct guard is immutable and for any thread; a text has one owner. */
#ifndef GUARD_GUARD_H
#define GUARD_GUARD_H

#include "base/buf.h"

enum guard_category {
    GUARD_HATE,
    GUARD_SELF_HARM,
    GUARD_SEXUAL,
    GUARD_VIOLENCE,
    GUARD_JAILBREAK,
    GUARD_PROFANITY,
    GUARD_CATEGORY_COUNT
};

/* "hate", "self_harm", "sexual", "violence", "jailbreak", "profanity" */
const char *guard_category_name(enum guard_category category);

/* Sets of categories are bits. */
static inline unsigned guard_bit(enum guard_category category)
{
    return 1U << category;
}

enum guard_side { GUARD_PROMPT, GUARD_ANSWER, GUARD_SIDE_COUNT };

/* What a judge says of all that it has seen of a text. */
struct guard_seen {
    unsigned found; /* categories, since the last call */
    size_t begin;   /* byte of the text where the first of these lies, not yet vetted before */
    size_t vetted;  /* bytes of the text in which nothing more can be found; never less than before,
                     * and all of them after the last piece */
};

struct guard_judge {
    const char *name;                      /* for people: "word list" */
    unsigned categories[GUARD_SIDE_COUNT]; /* that it judges in prompts, and in answers */
    const void *context;                   /* a list, a model; outlives the guard */
    size_t state_bytes;                    /* of the judging of one text */
    /* The state is zeroed memory. */
    void (*begin)(const struct guard_judge *judge, void *state);
    /* Sees the next piece, or after the last one an empty one. False with *e: the request fails. */
    bool (*see)(void *state, struct str piece, bool is_end, struct guard_seen *out,
                struct error *e);
    void (*end)(void *state); /* or NULL */
};

enum { GUARD_MAX_JUDGES = 4 };

struct guard {
    struct guard_judge judges[GUARD_MAX_JUDGES];
    size_t n_judges;
    bool blocks; /* a text ends before what is found in it; else it is only told */
};

/* Who judges a category in answers or prompts; NULL: nobody. */
const char *guard_judge_name(const struct guard *g, enum guard_category category);

struct guard_text {
    const struct guard *guard; /* NULL: everything leaves at once */
    enum guard_side side;
    void *states[GUARD_MAX_JUDGES]; /* NULL before the first piece */
    struct buf held;                /* what may not leave yet */
    size_t n_left;                  /* bytes that did */
    unsigned found;                 /* categories, so far */
    bool blocked;                   /* nothing leaves any more */
};

/* guard must outlive the text; NULL is allowed. */
void guard_text_init(struct guard_text *t, const struct guard *guard, enum guard_side side);
void guard_text_finish(struct guard_text *t);

/* Takes the next piece and appends to *out what may leave. A judge's error, or ERROR_MEMORY; *out
 * is then as it was. */
bool guard_text_push(struct guard_text *t, struct str piece, struct buf *out, struct error *e);

/* The text has ended: appends what was held back, unless it is blocked. */
bool guard_text_flush(struct guard_text *t, struct buf *out, struct error *e);

#endif
