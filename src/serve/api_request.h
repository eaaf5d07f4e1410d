/* api_request.h - bodies of requests: JSON to plain structs, every value checked.
 *
 * No parameter is ignored in silence. A name that is not in the tables, a wrong type and a value
 * outside its range are errors that name the parameter ("messages[2].content"); a parameter that is
 * known and harmless, but has no effect here, becomes a warning, or an error with `strict`. null
 * stands for "not given" wherever the parameter is optional.
 *
 * Ownership: a parsed request owns all that it points to in one list of memory blocks, and nothing
 * of the body. It may move between threads; parsing is pure and thread-safe.
 * Bounds: a body is looked through before it becomes a tree (struct api_limits); that takes 320
 * bytes a value and 256 a container, 350 MB for the worst body within the defaults, and 8 bytes a
 * byte of text, and is gone when the function returns. */
#ifndef SERVE_API_REQUEST_H
#define SERVE_API_REQUEST_H

#include "chat/template.h"
#include "chat/tool_frame.h"
#include "engine/sampler.h"
#include "serve/api_error.h"

#include <jansson.h>

enum {
    API_MAX_PARTS = 1024,       /* of one message's content */
    API_MAX_STOPS = 16,         /* stop strings, whatever the limits say */
    API_MAX_STOP_BYTES = 1024,  /* of one stop string */
    API_MAX_STOP_IDS = 64,      /* stop_token_ids */
    API_MAX_TOOLS = 128,        /* of a chat */
    API_MAX_CALLS = 128,        /* of tools, in one message */
    API_MAX_TOOL_CHARS = 64,    /* of a tool's name */
    API_MAX_TOP_LOGPROBS = 20,  /* of chats */
    API_MAX_LOGPROBS = 5,       /* of completions */
    API_MAX_INPUTS = 2048,      /* texts of one embeddings request */
    API_MAX_NAME_CHARS = 256,   /* code points of model, cache_salt, functions */
    API_MAX_USER_CHARS = 512,   /* of user, prompt_cache_key */
    API_MAX_SAFETY_CHARS = 128, /* of safety_identifier */
    API_MAX_ORIGIN_CHARS = 512, /* of the origin of an ephemeral key */
    API_MAX_KEY_SECONDS = 600,  /* of its life */
    API_MAX_METADATA = 16,      /* pairs; keys of at most 64, values of at most 512 code points */
    API_MAX_WARNINGS = 128      /* each parameter warns at most once, and schemas have at most twice
                                   SCHEMA_MAX_REMARKS + 1 remarks, so this is never reached */
};
enum { API_MAX_CALL_ID_CHARS = TOOL_CALL_ID_BYTES }; /* code points of what tells calls apart */

/* "as many tokens as the context has room for" */
#define API_TO_CONTEXT_END UINT32_MAX

/* What the owner of a server lets a request have. */
struct api_limits {
    uint32_t depth;         /* nested arrays and objects of a body; the tree's 2048 at most */
    uint32_t containers;    /* arrays and objects of a body, all together */
    uint32_t values;        /* elements and members, all together: also token ids */
    uint32_t schema_values; /* of them, what is beside messages, prompt, input, content, tokens */
    uint32_t schema_bytes;  /* of a string there, as it is spelled */
    uint32_t messages;      /* of a chat */
    uint32_t tokens;        /* of an answer; API_TO_CONTEXT_END: no fewer than there is room for */
    uint32_t stops;         /* stop strings, API_MAX_STOPS at most */
    uint32_t logit_bias;    /* entries, SAMPLER_MAX_BIASES at most */
    uint32_t n;             /* highest n and best_of */
};

/* Safe on a small machine: a body's tree takes less than 350 MB, see below. */
void api_limits_default(struct api_limits *out);

enum api_endpoint {
    API_CHAT,           /* chat/completions */
    API_COMPLETION,     /* completions */
    API_EMBEDDING,      /* embeddings */
    API_TOKENIZE,       /* tokenize, as llama-server has it; so the next two */
    API_DETOKENIZE,     /* detokenize */
    API_APPLY_TEMPLATE, /* apply-template: messages of a chat */
    API_EPHEMERAL_KEY,  /* keys/ephemeral */
    API_ENDPOINT_COUNT
};

enum api_pooling { API_POOLING_MEAN, API_POOLING_LAST };

/* What holds where the request is silent, and the server's own limits. */
struct api_options {
    struct sampler_params sampler;  /* no logit_bias here */
    uint32_t chat_max_tokens;       /* API_TO_CONTEXT_END, or a number */
    uint32_t completion_max_tokens; /* 16 */
    struct api_limits limits;
    uint32_t max_prompts; /* of one completions request */
    uint32_t n_vocab;     /* ids of requests are below; 0: not checked */
    uint32_t n_embd;      /* the one value of `dimensions`; 0: not checked */
    enum api_pooling pooling;
    int32_t priority, least_priority; /* where the request is silent; the lowest it may ask for */
    uint32_t most_tokens; /* the key allows for max_tokens; API_TO_CONTEXT_END: any number */
};

/* What max_tokens may be, by the server and by the key. */
static inline uint32_t api_most_tokens(const struct api_options *o)
{
    return o->most_tokens < o->limits.tokens ? o->most_tokens : o->limits.tokens;
}

/* OpenAI's: temperature 1, top_p 1 and every other filter off, penalties over the whole context. */
void api_options_default(struct api_options *out);

/* A text, or token ids. */
struct api_prompt {
    bool is_ids;
    struct str text; /* may be empty */
    const uint32_t *ids;
    size_t n_ids; /* >= 1 with is_ids */
};

enum api_truncation {
    API_TRUNCATION_DISABLED, /* too long is an error */
    API_TRUNCATION_AUTO      /* drop the oldest whole turns, keep system and the last user turn */
};

/* What the text of an answer must be. */
enum api_format_kind {
    API_FORMAT_TEXT,    /* anything */
    API_FORMAT_OBJECT,  /* any JSON object */
    API_FORMAT_SCHEMA,  /* JSON that is valid by a schema */
    API_FORMAT_PATTERN, /* what a regular expression matches as a whole */
    API_FORMAT_CHOICE,  /* one of some texts */
    API_FORMAT_GBNF     /* of a grammar in llama.cpp's form */
};

struct api_format {
    enum api_format_kind kind;
    const char *param;         /* that asked for it */
    const json_t *schema;      /* in the request's memory, as tools are */
    struct str text;           /* pattern or grammar */
    const struct str *choices; /* (n_choices) >= 1 */
    size_t n_choices;
};

/* Whether an answer calls tools. */
enum api_tool_choice {
    API_TOOLS_AUTO,     /* as the model likes */
    API_TOOLS_REQUIRED, /* at least one */
    API_TOOLS_NAMED     /* tool_name */
};

/* What the engine is to do, the same for chats and completions. */
struct api_generation {
    const struct chat_message *messages; /* (n_messages) of a chat, >= 1; NULL for completions */
    size_t n_messages;
    bool add_generation_prompt;     /* of a chat; true unless the request says otherwise */
    enum api_truncation truncation; /* of a chat */
    /* Of a chat, with NULLs where it has none, or must call none: arrays of
     * {"type":"function","function":{"name","description"?,"parameters"?,"strict"?}}, checked, in
     * the request's memory. References to parts of it must be given back before that goes. */
    json_t *tools;                    /* the prompt tells of them */
    json_t *callable;                 /* those that the answer may call: some, or tools itself */
    enum api_tool_choice tool_choice; /* of callable, which is not NULL unless it is AUTO */
    struct str tool_name;             /* one of callable */
    bool one_call;                    /* the answer ends with its first call */
    bool is_function_form; /* tools came as `functions`: a call is told as `function_call` */
    const struct api_prompt *prompts; /* (n_prompts) of completions, >= 1; NULL for chats */
    size_t n_prompts;

    struct api_format format;
    struct sampler_params sampler; /* all but token ids' upper end checked when n_vocab was 0 */
    bool has_seed;                 /* else sampler.seed is the option's: draw one */
    uint32_t n;                    /* answers to a prompt, >= 1 */
    uint32_t best_of;              /* >= n: so many are made, the n likeliest are answered */
    uint32_t max_tokens;           /* API_TO_CONTEXT_END, or a number; 0 in completions alone */
    uint32_t min_tokens;           /* no end token and no stop before; <= max_tokens */
    bool ignore_eos;
    struct str stop[API_MAX_STOPS]; /* none is empty */
    size_t n_stop;
    const uint32_t *stop_ids;
    size_t n_stop_ids;

    bool logprobs;
    uint32_t top_logprobs; /* likeliest tokens told at each place beside the chosen one */
    bool echo;             /* completions: the answer begins with the prompt (and its logprobs) */
    bool stream;
    bool include_usage; /* a last chunk with usage, and usage:null before */
    bool tell_tier;     /* the request named service_tier: the answer says "default" */
    int32_t priority;   /* lower goes first; 0 where the request is silent */
    struct str
        cache_salt; /* prefixes are shared among requests of equal salt alone; may be empty */
};

struct api_embedding {
    const struct api_prompt *inputs; /* (n_inputs) >= 1, none empty */
    size_t n_inputs;
    bool base64; /* else a list of numbers */
    enum api_pooling pooling;
};

struct api_tokenize {
    const struct api_prompt *pieces; /* (n_pieces) tokenised one after the other; >= 0 */
    size_t n_pieces;
    bool add_special, parse_special, with_pieces;
};

struct api_detokenize {
    const uint32_t *ids; /* (n_ids) may be none */
    size_t n_ids;
};

struct api_ephemeral_key {
    struct str origin; /* of a web page */
    uint32_t max_tokens, seconds;
    uint32_t budget_tokens;
};

/* Something that was asked for and had no effect. param is a path as in errors. */
struct api_warning {
    struct str param;
    struct str message;
};

struct api_request {
    enum api_endpoint endpoint;
    struct str model; /* empty where it is optional and not given */
    bool strict;
    union {
        struct api_generation
            generation; /* API_CHAT, API_COMPLETION; messages of API_APPLY_TEMPLATE */
        struct api_embedding embedding;
        struct api_tokenize tokenize;
        struct api_detokenize detokenize;
        struct api_ephemeral_key ephemeral_key;
    };
    struct api_warning *warnings; /* (n_warnings) */
    size_t n_warnings;
    void *blocks; /* the memory of all that; api_request_finish */
};

/* Reads a body. False with *e, which has the answer's status, and nothing to release; *out is then
 * zeroed. Running out of memory is API_ERROR_OVERLOADED. */
bool api_request_parse(enum api_endpoint endpoint, struct str body,
                       const struct api_options *options, struct api_request *out,
                       struct api_error *e);

/* A warning about the parameter that only shows when the request is worked on; with `strict` it is
 * an error, in *e. Also false, API_ERROR_OVERLOADED, when memory runs out. */
bool api_request_warn(struct api_request *r, const char *param, const char *message,
                      struct api_error *e);

enum { API_VERDICT_BYTES = 512 };

/* Whether the arguments of a call, the JSON text of an object, are valid by the parameters of its
 * function; if not, the warning: why, or that they cannot be read (a number beyond doubles). True
 * also where the parameters cannot be judged by. */
bool api_arguments_fit(const json_t *function, struct str arguments, char why[API_VERDICT_BYTES]);

/* Releases all that the request owns and zeroes it. A zeroed request is allowed. */
void api_request_finish(struct api_request *r);

/* Name of the i-th parameter that an endpoint accepts, NULL behind the last. For tests and
 * /capabilities. */
const char *api_parameter_name(enum api_endpoint endpoint, size_t i);

#endif
