/* conversation.h - the messages of a chat and its tools, owned, and their JSON form
 *   {"messages": [{"role": "user", "content": "Hi there!"}, ...], "tools": [...]}
 * which is the form of an OpenAI request: an assistant may have "tool_calls", a tool has the
 * "tool_call_id" that it answers. One owner, no locking. */
#ifndef CHAT_CONVERSATION_H
#define CHAT_CONVERSATION_H

#include "chat/template.h"

struct conversation {
    struct chat_message *messages; /* (n); all that they point to is owned */
    size_t n;
    size_t capacity;
    json_t *tools; /* an array; NULL: none */
};

/* A zeroed struct is an empty conversation. */
void conversation_finish(struct conversation *c);

/* Appends a copy. ERROR_MEMORY leaves *c as it was. */
bool conversation_add(struct conversation *c, enum chat_role role, struct str content,
                      struct error *e);
bool conversation_add_message(struct conversation *c, const struct chat_message *message,
                              struct error *e);

/* What a template writes of it. */
struct chat_input conversation_input(const struct conversation *c, bool add_generation_prompt);

/* Removes the last messages until n are left. */
void conversation_truncate(struct conversation *c, size_t n);

/* Sets, replaces or (empty text) removes the system message at the beginning. */
bool conversation_set_system(struct conversation *c, struct str content, struct error *e);

/* Reads the JSON form into *c, whose old messages and tools go away. Unknown keys and roles, wrong
 * types and contents that are no string are ERROR_FORMAT naming message and key; *c is then as it
 * was. */
bool conversation_parse(struct conversation *c, struct str json, struct error *e);

/* Appends the JSON form. ERROR_FORMAT when a message is not UTF-8. */
bool conversation_print(const struct conversation *c, struct buf *out, struct error *e);

#endif
