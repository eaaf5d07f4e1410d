/* template_internal.h - what the files of a template share. */
#ifndef CHAT_TEMPLATE_INTERNAL_H
#define CHAT_TEMPLATE_INTERNAL_H

#include "chat/template.h"

/* Tries the template on conversations made for that: fills t->support. Errors as
 * chat_template_write, when it cannot write the plainest one. */
bool chat_template_probe(struct chat_template *t, struct error *e);

#endif
