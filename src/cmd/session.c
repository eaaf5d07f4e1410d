/* session.c - opening a model for computing. */
#include "cmd/session.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/print.h"
#include "engine/engine.h"
#include "model/packing.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line of progress: the bar, and at most what is beside it. */
enum { BAR_WIDTH = 40, BESIDE_BAR = 20, LEAST_BAR = 4 };

static const char default_cache_limit[] = "64G", default_cache_min[] = "512M";

/* Columns of the whole line, where it is not to wrap; 0: none would do. */
static uint32_t progress_columns(void)
{
    struct winsize size;
    uint32_t n = BAR_WIDTH + BESIDE_BAR;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_col <= n) {
        n = size.ws_col - 1U;
    }
    return n >= LEAST_BAR + BESIDE_BAR ? n : 0;
}

void session_clear_progress(struct session_progress *p)
{
    if (p->shown) {
        fprintf(stderr, "\r%*s\r", (int)p->n_columns, "");
        fflush(stderr);
    }
    p->shown = false;
}

void session_show_progress(struct session_progress *p, const char *what, uint64_t done,
                           uint64_t total)
{
    uint32_t percent = total > 0 ? (uint32_t)((double)done / (double)total * 100.0) : 100;
    if (!p->wanted || (p->shown && percent == p->percent)) {
        return;
    }
    if (done == total) {
        session_clear_progress(p);
        return;
    }
    if (!p->shown) {
        p->n_columns = progress_columns();
    }
    if (p->n_columns == 0) {
        return;
    }
    p->shown = true;
    p->percent = percent;
    char bar[BAR_WIDTH + 1];
    uint32_t width = p->n_columns - BESIDE_BAR;
    for (uint32_t i = 0; i < width; i++) {
        bar[i] = i < percent * width / 100 ? '#' : '.';
    }
    bar[width] = '\0';
    fprintf(stderr, "\r%s [%s] %3u %%", what, bar, percent);
    fflush(stderr);
}

static void show_load(void *argument, const char *what, uint64_t done, uint64_t total)
{
    session_show_progress(argument, what, done, total);
}

static void show_note(void *argument, const char *text)
{
    struct session_progress *p = argument;
    session_clear_progress(p);
    p->warn(text);
}

static bool choose_kernels(const struct options_model *options, const struct kern_table **out,
                           struct error *e)
{
    enum kern_set set = kern_best();
    if (options->cpu != NULL && !kern_parse(options->cpu, &set)) {
        return error_set(e, ERROR_USAGE,
                         "option --cpu: '%s' is not ref, avx2, avxvnni, avx512, amx, neon or i8mm",
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
    *out = KERN_KV_Q16;
    if (name != NULL && !kv_type_parse(name, out)) {
        return error_set(e, ERROR_USAGE, "option --cache-type: '%s' is not q16, q8_0 or f16", name);
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

static bool parse_size(const char *name, const char *text, uint64_t *out, struct error *e)
{
    return options_parse_size(text, out, e) || error_prefix(e, "option --%s", name);
}

/* Also refuses what would change nothing. */
static bool choose_cache(const struct options_model *options, struct packed_cache_options *out,
                         struct error *e)
{
    const char *limit = options->cache_limit, *min = options->cache_min;
    const char *size = limit != NULL ? "--cache-limit" : min != NULL ? "--cache-min" : NULL;
    if (options->exact && (options->no_cache || size != NULL)) {
        return error_set(e, ERROR_USAGE, "option %s: with --exact no weights are packed",
                         options->no_cache ? "--no-cache" : size);
    }
    if (options->no_cache && size != NULL) {
        return error_set(e, ERROR_USAGE, "option %s changes nothing with --no-cache", size);
    }
    return parse_size("cache-limit", limit != NULL ? limit : default_cache_limit, &out->limit_bytes,
                      e) &&
           parse_size("cache-min", min != NULL ? min : default_cache_min, &out->min_bytes, e);
}

/* No format of blocks grows to four times its bytes when it is packed. The weights are not read
 * yet, so the size of the file has to do. */
bool session_may_keep(const char *path, const struct options_model *options)
{
    struct packed_cache_options cache;
    struct stat file;
    return !options->no_cache && !options->exact && stat(path, &file) == 0 &&
           choose_cache(options, &cache, NULL) && (uint64_t)file.st_size >= cache.min_bytes / 4;
}

/* Reads the configuration alone, so that a context that cannot be is said before the weights are
 * packed. */
static bool choose_ctx(struct session *s, uint32_t wanted, struct error *e)
{
    struct model_config c;
    if (!model_config_read(&c, s->file, e)) {
        return false;
    }
    uint32_t most = c.ctx_train < ENGINE_DEFAULT_CTX ? c.ctx_train : ENGINE_DEFAULT_CTX;
    s->n_ctx = wanted > 0 ? wanted : most;
    return rope_check_ctx(s->n_ctx, c.ctx_train, e);
}

/* Signals of the terminal are for the calling thread: another's would not end its read. */
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

/* Files from before the key existed answer, only worse, and nobody knows why. */
static void warn_of_guess(const struct session *s)
{
    if (tokenizer_info(s->tokenizer)->pre_is_guess) {
        char text[ERROR_TEXT_BYTES];
        snprintf(text, sizeof text,
                 "%s: without tokenizer.ggml.pre text is cut into words as by 'default', which may "
                 "not be as the model learned it",
                 s->path);
        s->progress.warn(text);
    }
}

/* Who loses his CPU in the middle of a phase (pool.h) keeps the others waiting. */
static void warn_of_threads(const struct session *s, uint32_t threads)
{
    unsigned n_cpus = pool_default_threads();
    if (threads > n_cpus) {
        char text[128];
        snprintf(text, sizeof text,
                 "%u threads, but this process has %u CPU%s: --threads %u is likely to be faster",
                 threads, n_cpus, n_cpus > 1 ? "s" : "", n_cpus);
        s->progress.warn(text);
    }
}

/* What loading needs beside the file. */
struct loading {
    const struct options_model *options;
    const struct kern_table *kern;
    struct packed_cache_options cache;
    struct pool *pool;
};

/* Loads with what is kept in the user's cache folder. */
static bool load_weights(struct session *s, struct loading *l, const char *cache_folder,
                         struct error *e)
{
    s->progress.wanted = isatty(STDERR_FILENO);
    l->cache.folder = cache_folder;
    l->cache.model_path = s->path;
    struct model_load_options load_options = {.exact = l->options->exact,
                                              .watch = {.progress = show_load,
                                                        .note = show_note,
                                                        .argument = &s->progress,
                                                        .stop = l->options->stop},
                                              .cache = l->options->no_cache ? NULL : &l->cache};
    s->has_model = model_load(&s->model, s->file, l->kern, &load_options, l->pool, e);
    return s->has_model || error_prefix(e, "%s", s->path);
}

static bool find_cache_folder(struct session *s, const struct cmd_env *env, struct error *e)
{
    struct error no_folder = {0};
    s->cache_folder = cmd_user_path(env, env->xdg_cache_home, ".cache", "packed", &no_folder);
    if (no_folder.code == ERROR_MEMORY) {
        *e = no_folder;
        return false;
    }
    return true;
}

static bool find_draft(struct session *s, const struct cmd_env *env, const char *model,
                       struct error *e)
{
    if (model == NULL) {
        return true;
    }
    s->draft = mem_alloc(1, sizeof *s->draft, "draft model", e);
    if (s->draft == NULL) {
        return false;
    }
    s->draft->progress.warn = s->progress.warn;
    return cmd_find_model(env, model, &s->draft->path, e);
}

static bool open_draft(struct session *s, struct error *e)
{
    struct session *draft = s->draft;
    return draft == NULL || (open_file(draft, 0, e) &&
                             (tokenizer_check_same(s->tokenizer, draft->tokenizer, e) ||
                              error_prefix(e, "%s: no draft for %s", draft->path, s->path)));
}

static bool load(struct session *s, struct loading *l, struct error *e)
{
    if (!open_file(s, l->options->ctx, e) || !open_draft(s, e)) {
        return false;
    }
    warn_of_guess(s);
    warn_of_threads(s, l->options->threads);
    l->pool = s->pool = create_pool(l->options->threads, e);
    return s->pool != NULL && load_weights(s, l, s->cache_folder, e) &&
           (s->draft == NULL || load_weights(s->draft, l, s->cache_folder, e));
}

bool session_check(const struct options_model *options, struct error *e)
{
    const struct kern_table *kern;
    struct packed_cache_options cache;
    struct session s;
    return choose_kernels(options, &kern, e) && choose_cache_type(&s, options, e) &&
           choose_cache(options, &cache, e);
}

bool session_open(struct session *s, const struct cmd_env *env, const char *model,
                  const struct options_model *options, struct error *e)
{
    *s = (struct session){.progress.warn = options->warn != NULL ? options->warn : print_warning};
    struct loading loading = {.options = options};
    bool ok = choose_kernels(options, &loading.kern, e) && choose_cache_type(s, options, e) &&
              choose_cache(options, &loading.cache, e) && cmd_find_model(env, model, &s->path, e) &&
              find_draft(s, env, options->draft, e) && find_cache_folder(s, env, e);
    uint64_t start = clock_now_ns();
    if (!ok || !load(s, &loading, e)) {
        session_close(s);
        return false;
    }
    s->load_seconds = clock_seconds_since(start);
    return true;
}

void session_keep(struct session *s, struct pool *pool)
{
    packing_store(&s->model.weights, pool);
    if (s->draft != NULL) {
        packing_store(&s->draft->model.weights, pool);
    }
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
    mem_free(s->cache_folder);
    mem_free(s->path);
    *s = (struct session){0};
}
