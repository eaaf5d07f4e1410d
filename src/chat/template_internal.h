/* template_internal.h - what the files of a template share. */
#ifndef CHAT_TEMPLATE_INTERNAL_H
#define CHAT_TEMPLATE_INTERNAL_H

#include "chat/template.h"

/* Tries the template on conversations made for that: fills t->support, t->roles and t->shape.
 * Errors as chat_template_write, when it cannot write the plainest one. */
bool chat_template_probe(struct chat_template *t, struct error *e);

/* chat_template_write with a clock and limits of the caller's; limits may be NULL. */
bool chat_template_write_at(const struct chat_template *t, const struct chat_input *input,
                            const struct tm *now, const struct jinja_limits *limits,
                            struct jinja_output *out, struct error *e);

/* The day that the clock of templates stands at unless they are told of another. */
extern const struct tm chat_fixed_day;

#endif
