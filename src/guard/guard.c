/* guard.c - passes a text by its judges. */
#include "guard/guard.h"

#include "base/mem.h"

enum { MAX_HELD_BYTES = 16 << 20 };

const char *guard_category_name(enum guard_category category)
{
    static const char *const names[GUARD_CATEGORY_COUNT] = {
        [GUARD_HATE] = "hate",           [GUARD_SELF_HARM] = "self_harm",
        [GUARD_SEXUAL] = "sexual",       [GUARD_VIOLENCE] = "violence",
        [GUARD_JAILBREAK] = "jailbreak", [GUARD_PROFANITY] = "profanity",
    };
    return names[category];
}

const char *guard_judge_name(const struct guard *g, enum guard_category category)
{
    for (size_t i = 0; i < g->n_judges; i++) {
        const struct guard_judge *judge = &g->judges[i];
        unsigned judged = judge->categories[GUARD_PROMPT] | judge->categories[GUARD_ANSWER];
        if ((judged & guard_bit(category)) != 0) {
            return judge->name;
        }
    }
    return NULL;
}

void guard_text_init(struct guard_text *t, const struct guard *guard, enum guard_side side)
{
    *t = (struct guard_text){.guard = guard, .side = side};
    buf_init(&t->held, MAX_HELD_BYTES);
}

void guard_text_finish(struct guard_text *t)
{
    for (size_t i = 0; i < GUARD_MAX_JUDGES; i++) {
        if (t->states[i] != NULL && t->guard->judges[i].end != NULL) {
            t->guard->judges[i].end(t->states[i]);
        }
        mem_free(t->states[i]);
    }
    buf_finish(&t->held);
    *t = (struct guard_text){0};
}

static bool open_state(struct guard_text *t, size_t i, struct error *e)
{
    const struct guard_judge *judge = &t->guard->judges[i];
    t->states[i] = mem_alloc(1, judge->state_bytes, "content filter of a text", e);
    if (t->states[i] != NULL) {
        judge->begin(judge, t->states[i]);
    }
    return t->states[i] != NULL;
}

/* What all judges together say; begin is SIZE_MAX when nothing was found. */
static bool ask_judges(struct guard_text *t, struct str piece, bool is_end, struct guard_seen *out,
                       struct error *e)
{
    *out = (struct guard_seen){.begin = SIZE_MAX, .vetted = t->n_left + t->held.n};
    for (size_t i = 0; i < t->guard->n_judges; i++) {
        const struct guard_judge *judge = &t->guard->judges[i];
        struct guard_seen seen = {0};
        if (judge->categories[t->side] == 0) {
            continue;
        }
        if ((t->states[i] == NULL && !open_state(t, i, e)) ||
            !judge->see(t->states[i], piece, is_end, &seen, e)) {
            return false;
        }
        out->found |= seen.found;
        out->begin = seen.found != 0 && seen.begin < out->begin ? seen.begin : out->begin;
        out->vetted = seen.vetted < out->vetted ? seen.vetted : out->vetted;
    }
    return true;
}

static bool pass(struct guard_text *t, struct str piece, bool is_end, struct buf *out,
                 struct error *e)
{
    struct guard_seen seen;
    if (t->guard == NULL) {
        return buf_append(out, piece, e);
    }
    if (t->blocked) {
        return true;
    }
    if (!buf_append(&t->held, piece, e) || !ask_judges(t, piece, is_end, &seen, e)) {
        return false;
    }
    bool blocked = t->guard->blocks && seen.found != 0;
    size_t n = (blocked ? seen.begin : seen.vetted) - t->n_left;
    if (!buf_append(out, (struct str){t->held.data, n}, e)) {
        return false;
    }
    t->blocked = blocked;
    t->found |= seen.found;
    t->n_left += n;
    buf_consume(&t->held, blocked ? t->held.n : n);
    return true;
}

bool guard_text_push(struct guard_text *t, struct str piece, struct buf *out, struct error *e)
{
    return pass(t, piece, false, out, e);
}

bool guard_text_flush(struct guard_text *t, struct buf *out, struct error *e)
{
    return pass(t, (struct str){"", 0}, true, out, e);
}
