/* template_internal.h - what template.c and chat_choice.c share. */
#ifndef CHAT_TEMPLATE_INTERNAL_H
#define CHAT_TEMPLATE_INTERNAL_H

#include "chat/template.h"

/* The family by the file's tokenizer.chat_template, or by its tokens and general.name when it has
 * none. ERROR_UNSUPPORTED, saying what to do, when no rule fits; ERROR_FORMAT from the file. */
bool chat_choose_family(const struct gguf *g, const struct tokenizer *t, enum chat_family *out,
                        struct error *e);

/* ChatML models differ in two things that the file's template says: whether BOS comes first, and
 * the system message said when the conversation has none. */
bool chat_read_chatml_details(const struct gguf *g, struct chat_template *t, struct error *e);

#endif
