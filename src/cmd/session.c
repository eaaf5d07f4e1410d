/* session.c - opening a model for computing. */
#include "cmd/session.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

struct progress {
    bool shown;
    uint32_t percent;
};

static void show_progress(void *argument, uint64_t done, uint64_t total)
{
    struct progress *p = argument;
    uint32_t percent = total > 0 ? (uint32_t)((double)done / (double)total * 100.0) : 100;
    if (p->shown && percent == p->percent) {
        return;
    }
    p->shown = true;
    p->percent = percent;
    char bar[BAR_WIDTH + 1];
    for (uint32_t i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < percent * BAR_WIDTH / 100 ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\rloading [%s] %3u %%", bar, percent);
    if (done == total) {
        fprintf(stderr, "\r%*s\r", BAR_WIDTH + 18, "");
    }
    fflush(stderr);
}

static bool choose_kernels(const struct options_model *options, const struct kern_table **out,
                           struct error *e)
{
    enum kern_set set = kern_best();
    if (options->cpu != NULL && !kern_parse(options->cpu, &set)) {
        return error_set(e, ERROR_USAGE, "option --cpu: '%s' is not ref, avx2, avx512 or neon",
                         options->cpu);
    }
    enum kern_numerics numerics = KERN_PORTABLE;
    if (options->numerics != NULL && !kern_numerics_parse(options->numerics, &numerics)) {
        return error_set(e, ERROR_USAGE, "option --numerics: '%s' is not portable or bf16",
                         options->numerics);
    }
    if (options->numerics != NULL && options->exact) {
        return error_set(e, ERROR_USAGE,
                         "option --numerics: with --exact products are summed in double precision");
    }
    *out = numerics == KERN_BF16 ? kern_get_bf16(set, e) : kern_get(set, e);
    return *out != NULL;
}

bool session_cache_type(const char *name, enum kern_kv *out, struct error *e)
{
    *out = KERN_KV_F16;
    if (name != NULL && !kv_type_parse(name, out)) {
        return error_set(e, ERROR_USAGE, "option --cache-type: '%s' is not f16 or q8_0", name);
    }
    return true;
}

static bool choose_cache_type(struct session *s, const struct options_model *options,
                              struct error *e)
{
    if (options->exact && options->cache_type != NULL) {
        return error_set(e, ERROR_USAGE,
                         "option --cache-type: with --exact keys and values are f32");
    }
    return session_cache_type(options->cache_type, &s->kv_type, e);
}

/* Reads the configuration alone, so that a context that cannot be is said before the weights are
 * packed. */
static bool choose_ctx(struct session *s, uint32_t wanted, struct error *e)
{
    struct model_config c;
    if (!model_config_read(&c, s->file, e)) {
        return false;
    }
    if (wanted > c.ctx_train) {
        return error_set(e, ERROR_USAGE, "a context of %u tokens: the model was made for %u",
                         wanted, c.ctx_train);
    }
    uint32_t most = c.ctx_train < ENGINE_DEFAULT_CTX ? c.ctx_train : ENGINE_DEFAULT_CTX;
    s->n_ctx = wanted > 0 ? wanted : most;
    return true;
}

/* Signals of the terminal are for the calling thread: taken by another they would not end its read. */
static struct pool *create_pool(uint32_t threads, struct error *e)
{
    static const int signals[] = {SIGINT, SIGQUIT, SIGTSTP, SIGCONT, SIGTERM, SIGHUP, SIGWINCH};
    sigset_t set, before;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaddset(&set, signals[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before);
    struct pool *pool = pool_create(threads > 0 ? threads : pool_default_threads(), e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool;
}

/* Opens the file at s->path, all but its weights. Its errors name the file. */
static bool open_file(struct session *s, uint32_t ctx, struct error *e)
{
    s->file = gguf_open(s->path, e);
    if (s->file == NULL) {
        return false;
    }
    s->tokenizer = tokenizer_create(s->file, e);
    return (s->tokenizer != NULL && choose_ctx(s, ctx, e)) || error_prefix(e, "%s", s->path);
}

static bool load_weights(struct session *s, const struct options_model *options,
                         const struct kern_table *kern, struct pool *pool, struct error *e)
{
    struct progress progress = {0};
    struct model_load_options load_options = {.exact = options->exact};
    if (isatty(STDERR_FILENO)) {
        load_options.progress = show_progress;
        load_options.progress_argument = &progress;
    }
    s->has_model = model_load(&s->model, s->file, kern, &load_options, pool, e);
    return s->has_model || error_prefix(e, "%s", s->path);
}

static bool find_draft(struct session *s, const struct cmd_env *env, const char *model,
                       struct error *e)
{
    if (model == NULL) {
        return true;
    }
    s->draft = mem_alloc(1, sizeof *s->draft, "draft model", e);
    return s->draft != NULL && cmd_find_model(env, model, &s->draft->path, e);
}

static bool open_draft(struct session *s, struct error *e)
{
    struct session *draft = s->draft;
    return draft == NULL || (open_file(draft, 0, e) &&
                             (tokenizer_check_same(s->tokenizer, draft->tokenizer, e) ||
                              error_prefix(e, "%s: no draft for %s", draft->path, s->path)));
}

static bool load(struct session *s, const struct options_model *options,
                 const struct kern_table *kern, struct error *e)
{
    if (!open_file(s, options->ctx, e) || !open_draft(s, e)) {
        return false;
    }
    s->pool = create_pool(options->threads, e);
    return s->pool != NULL && load_weights(s, options, kern, s->pool, e) &&
           (s->draft == NULL || load_weights(s->draft, options, kern, s->pool, e));
}

bool session_open(struct session *s, const struct cmd_env *env, const char *model,
                  const struct options_model *options, struct error *e)
{
    *s = (struct session){0};
    const struct kern_table *kern = NULL;
    bool ok = choose_kernels(options, &kern, e) && choose_cache_type(s, options, e) &&
              cmd_find_model(env, model, &s->path, e) && find_draft(s, env, options->draft, e);
    uint64_t start = clock_now_ns();
    if (!ok || !load(s, options, kern, e)) {
        session_close(s);
        return false;
    }
    s->load_seconds = clock_seconds_since(start);
    return true;
}

void session_close(struct session *s)
{
    if (s->draft != NULL) {
        session_close(s->draft);
        mem_free(s->draft);
    }
    if (s->has_model) {
        model_finish(&s->model);
    }
    pool_destroy(s->pool);
    tokenizer_destroy(s->tokenizer);
    gguf_destroy(s->file);
    mem_free(s->path);
    *s = (struct session){0};
}
