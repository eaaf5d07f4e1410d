/* schema_validate_internal.h - what the keywords of schema_validate.c and schema_assert.c share. */
#ifndef SCHEMA_SCHEMA_VALIDATE_INTERNAL_H
#define SCHEMA_SCHEMA_VALIDATE_INTERNAL_H

#include "schema/grammar.h"
#include "schema/schema_place.h"
#include "schema/schema_validate.h"

#include <stdbool.h>

/* A regular expression of the schema, ready to be looked for. */
struct schema_pattern {
    const char *text; /* NULL: none yet */
    struct grammar_builder *builder;
    uint32_t all, some; /* texts that match for every reader, for some; GRAMMAR_NONE: none can be */
};

enum { SCHEMA_MAX_PATTERNS = 64 };

struct schema_run {
    const json_t *root;
    struct schema_verdict *verdict;
    size_t steps;      /* that are left */
    unsigned depth;    /* that is left */
    unsigned n_quiet;  /* branches open whose failure is no failure of the whole */
    bool stopped;      /* no steps or no depth is left: nothing below is judged any more */
    bool has_reason;   /* verdict holds why it is invalid */
    bool has_question; /* verdict holds what was unchecked */
    struct schema_pattern patterns[SCHEMA_MAX_PATTERNS]; /* (n_patterns) */
    size_t n_patterns;
    uint64_t pattern_steps; /* of grammar.h, that are left for all of them */
};

/* One keyword of one schema, applied to one value. */
struct schema_call {
    struct schema_run *run;
    const json_t *schema; /* the object that has the keyword */
    const char *keyword;
    const json_t *value; /* of the keyword */
    const json_t *instance;
    const struct schema_place *at;    /* of the instance */
    const struct schema_place *where; /* of the schema */
};

typedef enum schema_outcome (*schema_keyword)(const struct schema_call *c);

/* Notes the reason, if it is the first that counts; returns SCHEMA_INVALID. */
enum schema_outcome schema_fail(const struct schema_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same about the member `name` of the instance, which may not be there. */
enum schema_outcome schema_fail_member(const struct schema_call *c, const char *name,
                                       const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes what could not be checked and why; returns SCHEMA_UNCHECKED. */
enum schema_outcome schema_leave_open(const struct schema_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The keyword's value is none that it may have. */
enum schema_outcome schema_malformed(const struct schema_call *c);

/* Takes steps; false, with run->stopped, when they do not suffice. */
bool schema_spend(struct schema_run *run, size_t steps);

/* Both must hold. */
enum schema_outcome schema_both(enum schema_outcome a, enum schema_outcome b);

/* All names (an array of strings) must be members of an object; because names the member for which
 * that is so, or is NULL. */
enum schema_outcome schema_require_names(const struct schema_call *c, const json_t *names,
                                         const char *because);

/* The assertions that look at the value alone (schema_assert.c). */
struct schema_entry {
    const char *keyword;
    schema_keyword apply;
};
extern const struct schema_entry schema_assertions[];
extern const size_t schema_n_assertions;

#endif
