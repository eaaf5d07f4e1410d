/* api_parameter.h - the tables of parameters: one line a name, which says type, place and range.
 * Internal to serve/api_*. */
#ifndef SERVE_API_PARAMETER_H
#define SERVE_API_PARAMETER_H

#include "serve/api_read.h"

enum api_parameter_kind {
    API_KIND_BOOL,
    API_KIND_INT32,
    API_KIND_UINT32,
    API_KIND_FLOAT,
    API_KIND_TEXT,  /* max is in code points; min 1 refuses the empty string */
    API_KIND_CUSTOM /* read() does it */
};

struct api_parameter {
    const char *name;
    enum api_parameter_kind kind;
    size_t offset; /* in struct api_request */
    double min, max;
    bool (*read)(struct api_reader *r, const json_t *v);
};

struct api_table {
    const struct api_parameter *items;
    size_t n;
};

/* What chats and completions share, each endpoint's own, and the checks that need several. Defaults
 * are put in by the *_default functions before anything is read. */
extern const struct api_table api_generation_table;
extern const struct api_table api_chat_table;
extern const struct api_table api_template_table; /* apply-template: of a chat, its messages */
extern const struct api_table api_completion_table;
extern const struct api_table api_embedding_table;
extern const struct api_table api_tokenize_table;
extern const struct api_table api_detokenize_table;
extern const struct api_table api_ephemeral_key_table;

void api_generation_default(struct api_generation *g, const struct api_options *o);
bool api_generation_check(struct api_reader *r);
bool api_chat_check(struct api_reader *r);
bool api_completion_check(struct api_reader *r);

/* Names of a client's users, of no use to a server that does not tell its clients apart. */
bool api_read_user(struct api_reader *r, const json_t *v);
bool api_read_safety_identifier(struct api_reader *r, const json_t *v);

/* messages of a chat, into the request's generation. */
bool api_read_messages(struct api_reader *r, const json_t *v);

/* Of an assistant's message: its calls of tools, none where it has none, and what goes with them.
 * Their answers, once all messages are read: each is of a call in front, and no call is without;
 * they are put into the order of the calls. */
bool api_read_calls(struct api_reader *r, const json_t *message, struct chat_message *out);
bool api_check_answers(struct api_reader *r, struct chat_message *messages, size_t n);
/* The same of the message being read, messages[i], which answers a function_call by its name. */
bool api_check_function_answer(struct api_reader *r, const struct chat_message *messages, size_t i,
                               struct str name);

/* What may be called, and how. The check is for when all is read: it knows what goes together. */
bool api_read_tools(struct api_reader *r, const json_t *v);
bool api_read_functions(struct api_reader *r, const json_t *v);
bool api_read_tool_choice(struct api_reader *r, const json_t *v);
bool api_read_function_call(struct api_reader *r, const json_t *v);
bool api_read_parallel(struct api_reader *r, const json_t *v);
bool api_tools_check(struct api_reader *r);

/* What the text of an answer must be: each way to say it, one of which may be given. */
bool api_read_response_format(struct api_reader *r, const json_t *v);
bool api_read_guided_json(struct api_reader *r, const json_t *v);
bool api_read_guided_regex(struct api_reader *r, const json_t *v);
bool api_read_guided_choice(struct api_reader *r, const json_t *v);
bool api_read_guided_grammar(struct api_reader *r, const json_t *v);
bool api_read_structured_outputs(struct api_reader *r, const json_t *v);

/* A string or an array of text parts, joined by line ends. */
bool api_read_content(struct api_reader *r, const json_t *v, struct str *out);

#define API_TABLE(items_) ((struct api_table){(items_), sizeof(items_) / sizeof((items_)[0])})
#define API_FIELD(field)  offsetof(struct api_request, field)

#endif
