/* session.h - a model opened for computing: file, tokenizer, threads, kernels, weights. */
#ifndef CMD_SESSION_H
#define CMD_SESSION_H

#include "base/pool.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "format/gguf.h"
#include "model/kv.h"
#include "model/model.h"
#include "token/token.h"

/* A bar on stderr, when that is a terminal. */
struct session_progress {
    bool wanted, shown;
    uint32_t percent, n_columns; /* of what is shown */
    void (*warn)(const char *text);
};

struct session {
    char *path;
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct pool *pool;
    struct model model;
    bool has_model;
    uint32_t n_ctx; /* tokens that a sequence may have: as asked for, else the model's, at most
                       ENGINE_DEFAULT_CTX */
    enum kern_kv kv_type;
    double load_seconds;
    struct session *draft; /* a model of the same vocabulary that guesses for this one; computed by
                              this one's threads and kernels; NULL for none */
    char *cache_folder;    /* where packed weights are kept, NULL when there is no place */
    struct session_progress progress;
};

/* Shows on a line of stderr how far `what` is, when that is a terminal; the line goes when
 * done == total, or by session_clear_progress(). */
void session_show_progress(struct session_progress *p, const char *what, uint64_t done,
                           uint64_t total);
void session_clear_progress(struct session_progress *p);

/* The type that --cache-type names; name NULL: q16. ERROR_USAGE for any other word. */
bool session_cache_type(const char *name, enum kern_kv *out, struct error *e);

/* Whether the packed weights of a model's file may be kept for the next start: false when it is too
 * small for that. */
bool session_may_keep(const char *path, const struct options_model *options);

/* What session_open() would say of the options before it looks for a model. */
bool session_check(const struct options_model *options, struct error *e);

/* Checks the options, then finds (see cmd_find_model, which may fetch) and loads a model; a
 * progress bar goes to stderr when that is a terminal. Errors of the model begin with its path (a
 * context longer than it was made for, or a draft of another vocabulary, ERROR_USAGE, too), those
 * of the other options do not. On failure everything is released. */
bool session_open(struct session *s, const struct cmd_env *env, const char *model,
                  const struct options_model *options, struct error *e);
void session_close(struct session *s);

/* When the work is done: keeps the packed weights for the next start, see packed_cache.h.
 * On the thread that opened s, with a pool that nobody else uses meanwhile. A progress bar goes to
 * stderr, and a warning to options->warn when that does not work. */
void session_keep(struct session *s, struct pool *pool);

#endif
