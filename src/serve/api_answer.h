/* api_answer.h - answers and events as JSON, written straight into a buffer.
 *
 * Every function appends to *out, allocates nothing but the buffer's own growth, and on failure
 * (ERROR_MEMORY: the buffer's maximum or memory; ERROR_INTERNAL: a number that is not finite)
 * leaves *out as it was. Strings may hold any bytes: what leaves is valid UTF-8. Structs are
 * borrowed for the call. Pure functions, any thread.
 *
 * A stream, for choices 0 .. n-1:
 *   role event of choice 0, 1, ..; content and call events as they come; finish event of each;
 *   usage event (include_usage alone); http_sse_done().
 * Completions have no role event. An error after the first event is api_stream_error(), last. */
#ifndef SERVE_API_ANSWER_H
#define SERVE_API_ANSWER_H

#include "guard/guard.h"
#include "serve/api_error.h"
#include "serve/api_request.h"
#include "token/token.h"

enum api_finish {
    API_FINISH_NONE,
    API_FINISH_STOP,
    API_FINISH_LENGTH,
    API_FINISH_TOOL_CALLS,
    API_FINISH_FUNCTION_CALL,
    API_FINISH_CONTENT_FILTER
};

/* Below this a log probability is told as this. */
#define API_LOGPROB_FLOOR (-9999.0)

/* One of the likeliest tokens at a place. bytes are the token's own, also half a code point. */
struct api_candidate {
    struct str bytes;
    double logprob;
};

/* A token of an answer, or with echo of its prompt. */
struct api_token {
    struct str bytes;
    double logprob;     /* NaN: none, as for a prompt's first token; below the floor: the floor */
    size_t text_offset; /* code points of text before it (api_count_text); completions alone */
    const struct api_candidate *top; /* (n_top) likeliest first */
    size_t n_top;
};

/* How many characters bytes add to a text that is cut into tokens: a code point counts where its
 * first byte is. */
size_t api_count_text(struct str bytes);

/* Sets of categories (guard.h); jailbreak and profanity alone tell both. */
struct api_filter_result {
    unsigned filtered, detected;
};

/* What was dropped because the request asked for truncation. */
struct api_truncated {
    size_t n_messages; /* dropped */
    size_t n_tokens;   /* dropped, of the prompt as it would have been */
    size_t first;      /* index in the request of the first message dropped */
};

struct api_usage {
    uint64_t prompt_tokens, completion_tokens;
    uint64_t cached_tokens;      /* of the prompt, found in the prefix cache */
    uint64_t neutralised_tokens; /* control tokens that messages spelled: they are text */
    struct str miss_reason;      /* why no more were cached; p NULL: usage has no "cache" object */
};

/* A call of a tool, or the part of one that an event adds: its beginning has id and name, and
 * whatever follows arguments alone. */
struct api_call {
    struct str id;        /* "call_..."; p NULL: of what follows */
    struct str name;      /* of the function */
    struct str arguments; /* JSON text, or a part */
};

enum { API_ID_BYTES = 48 };

/* What all events and the whole answer of one request say. */
struct api_head {
    struct str id;    /* "chatcmpl-..." or "cmpl-..." */
    struct str model; /* as the request named it */
    struct str fingerprint;
    int64_t created_s;  /* Unix time */
    bool include_usage; /* streams: usage:null in all but the last */
    bool tell_tier;     /* service_tier:"default" */
    /* in a whole answer, and in the first event of a stream */
    const struct api_warning *warnings; /* (n_warnings) */
    size_t n_warnings;
    const struct api_truncated *truncated; /* NULL: nothing was */
};

/* A choice, or the part of one that an event adds. */
struct api_choice {
    uint32_t index;
    struct str text;
    enum api_finish finish;         /* API_FINISH_NONE in all events but the finish event */
    bool logprobs;                  /* else null */
    const struct api_token *tokens; /* (n_tokens) of this text, with logprobs alone */
    size_t n_tokens;
    const struct api_filter_result *filter; /* NULL: no content_filter_results */
    const struct api_call *calls; /* (n_calls) of a chat's whole answer, whose content is null
                                   * where it has calls and no text */
    size_t n_calls;
    bool is_function_form;              /* the one call is told as function_call */
    const struct api_warning *warnings; /* (n_warnings) of the finish event, of its calls */
    size_t n_warnings;
};

/* --- whole answers */

bool api_chat_print(const struct api_head *h, const struct api_choice *choices, size_t n_choices,
                    const struct api_usage *usage, struct buf *out, struct error *e);
bool api_completion_print(const struct api_head *h, const struct api_choice *choices,
                          size_t n_choices, const struct api_usage *usage, struct buf *out,
                          struct error *e);

/* --- streams: each appends one event, "data: {...}\n\n" */

/* is_first: of the whole stream; it carries warnings and truncation. */
bool api_chat_role_event(const struct api_head *h, uint32_t index, bool is_first, struct buf *out,
                         struct error *e);
bool api_chat_content_event(const struct api_head *h, const struct api_choice *c, struct buf *out,
                            struct error *e);
/* A part of call number i. Of c its place, the form of calls, and tokens and logprobs as above. */
bool api_chat_call_event(const struct api_head *h, const struct api_choice *c, size_t i,
                         const struct api_call *part, struct buf *out, struct error *e);
/* c->finish says why; its text, calls and tokens are not told. */
bool api_chat_finish_event(const struct api_head *h, const struct api_choice *c, struct buf *out,
                           struct error *e);
/* Text, and in the last event of a choice its finish. */
bool api_completion_event(const struct api_head *h, const struct api_choice *c, bool is_first,
                          struct buf *out, struct error *e);
bool api_usage_event(const struct api_head *h, bool is_chat, const struct api_usage *usage,
                     struct buf *out, struct error *e);
bool api_stream_error(const struct api_error *error, struct buf *out, struct error *e);

/* --- embeddings: begin, every vector in order, end */

bool api_embeddings_begin(struct buf *out, struct error *e);
/* shapes  vector (n) f32, finite */
bool api_embeddings_add(uint32_t index, const float *vector, size_t n, bool base64, struct buf *out,
                        struct error *e);
/* Of h model and warnings are told. */
bool api_embeddings_end(const struct api_head *h, uint64_t prompt_tokens, struct buf *out,
                        struct error *e);

/* --- models */

struct api_model {
    struct str id;
    int64_t created_s;
    struct str owned_by;
};
bool api_model_print(const struct api_model *m, struct buf *out, struct error *e);
bool api_models_print(const struct api_model *models, size_t n, struct buf *out, struct error *e);

/* --- tokenize, detokenize, apply-template: llama-server's forms. Of h the warnings are told. */

/* t: {"id","piece"} objects, where a piece that is no UTF-8 is a list of bytes; NULL: ids. */
bool api_tokenize_print(const struct api_head *h, const struct tokenizer *t, const uint32_t *ids,
                        size_t n, struct buf *out, struct error *e);
bool api_detokenize_print(struct str text, struct buf *out, struct error *e);
/* Ours gives the ids too: text alone cannot say which of its tokens are control tokens. */
bool api_apply_template_print(const struct api_head *h, struct str prompt, const uint32_t *ids,
                              size_t n, struct buf *out, struct error *e);

#endif
