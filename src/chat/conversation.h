/* conversation.h - the messages of a chat, owned, and their JSON form
 *   {"messages": [{"role": "user", "content": "Hi there!"}, ...]}
 * which is the form of an OpenAI request. One owner, no locking. */
#ifndef CHAT_CONVERSATION_H
#define CHAT_CONVERSATION_H

#include "chat/template.h"

struct conversation {
    struct chat_message *messages; /* (n); the contents are owned */
    size_t n;
    size_t capacity;
};

/* A zeroed struct is an empty conversation. */
void conversation_finish(struct conversation *c);

/* Appends a copy. ERROR_MEMORY leaves *c as it was. */
bool conversation_add(struct conversation *c, enum chat_role role, struct str content,
                      struct error *e);

/* Removes the last messages until n are left. */
void conversation_truncate(struct conversation *c, size_t n);

/* Sets, replaces or (empty text) removes the system message at the beginning. */
bool conversation_set_system(struct conversation *c, struct str content, struct error *e);

/* Reads the JSON form into *c, whose old messages go away. Unknown keys and roles, wrong types and
 * contents that are no string are ERROR_FORMAT naming message and key; *c is then as it was. */
bool conversation_parse(struct conversation *c, struct str json, struct error *e);

/* Appends the JSON form. ERROR_FORMAT when a message is not UTF-8. */
bool conversation_print(const struct conversation *c, struct buf *out, struct error *e);

#endif
