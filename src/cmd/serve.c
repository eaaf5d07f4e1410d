/* serve.c - `puna serve`: the model behind an HTTP API. This thread does the talking; another one
 * loads the model. */
#include "base/clock.h"
#include "base/digest.h"
#include "base/keep.h"
#include "base/mem.h"
#include "cmd/chat_options.h"
#include "cmd/content_filter.h"
#include "cmd/listening.h"
#include "cmd/print.h"
#include "cmd/serve_aliases.h"
#include "cmd/serve_keys.h"
#include "cmd/serve_log.h"
#include "cmd/serve_sandbox.h"
#include "cmd/serve_usage.h"
#include "cmd/service_manager.h"
#include "cmd/serving_limits.h"
#include "cmd/session.h"
#include "cmd/settings.h"
#include "engine/spill.h"
#include "serve/service.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_prefix_limit[] = "16G";

enum {
    DEFAULT_BATCH = 512,
    DEFAULT_DRAIN_S = 30,
    LAST_WORDS_MS = 2000, /* for clients to take the errors that end their answers */
    MOST_FILES = SERVING_MOST_CONNECTIONS,
    NAME_BYTES = 256,
    MOST_ORIGINS = 64
};

struct serve_options {
    struct options_model model;
    struct http_options http;
    struct listening listening;
    struct serving_limits limits;
    struct chat_options chat;
    uint32_t parallel;        /* sequences at once */
    uint32_t draft_max;       /* guesses of a step */
    uint32_t drain_s;         /* that answers under way have after a signal */
    const char *log;          /* "text", "json" or "none" */
    const char *kv_size;      /* of the memory for keys and values; NULL: see kv_bytes() */
    const char *prefix_dir;   /* where prefixes are kept on disk; NULL: nowhere */
    const char *prefix_limit; /* size of all of them; NULL: default_prefix_limit */
    struct str origins[MOST_ORIGINS];
    char origin_texts[MOST_ORIGINS][HTTP_CORS_ORIGIN_BYTES];
    bool no_auth, no_prefix_cache;
    enum api_pooling pooling; /* of embeddings */
};

struct serve {
    const struct cmd_env *env;
    int argc;
    char **argv;
    struct settings settings;
    struct settings again; /* of the last SIGHUP that changed something: aliases point into it */
    const char *model;     /* as it was named */
    char *model_path;      /* where it was found */
    struct serve_sandbox sandbox;
    struct serve_options options;
    struct service service;
    struct serve_keys keys;
    struct serve_usage usage;
    struct http_server *server;
    char name[NAME_BYTES]; /* of the model: its file's, without ".gguf" */

    /* Finds the files until `found` is posted; another one owns session, failed and error until
     * `loaded` is posted; then that stores. */
    pthread_t loader;
    bool has_loader; /* it was not joined */
    struct http_task found;
    struct http_task loaded;
    struct session session;
    struct digest weights;
    struct spill_options spill;
    struct error error;
    bool failed;
    struct token_trie *trie;
    struct worker *worker;
    struct content_filter filter;
    struct chat_template chat;
    bool has_chat;
    _Atomic bool is_storing; /* `loader` is past loading */
    _Atomic bool stop;       /* it shall not store any more */
    bool is_ending;          /* one signal came */
    bool reload_waits;       /* for `reload` */
    struct http_timer *reload;
    struct http_timer *drain;
    struct http_timer *watchdog; /* NULL: nobody waits for signs of life */
    struct service_manager manager;
};

/* --- options */

static bool add_origin(void *target, const char *value, struct error *e)
{
    struct serve_options *o = target;
    size_t i = o->http.n_origins;
    if (i == MOST_ORIGINS) {
        return error_set(e, ERROR_USAGE, "more than %d origins", MOST_ORIGINS);
    }
    if (!cmd_read_origin(value, o->origin_texts[i], e)) {
        return false;
    }
    o->origins[i] = str_from(o->origin_texts[i]);
    o->http.n_origins = i + 1;
    o->http.origins = o->origins;
    return true;
}

static bool set_pooling(void *target, const char *value, struct error *e)
{
    enum api_pooling *pooling = target;
    bool is_last = strcmp(value, "last") == 0;
    *pooling = is_last ? API_POOLING_LAST : API_POOLING_MEAN;
    return is_last || strcmp(value, "mean") == 0 ||
           error_set(e, ERROR_USAGE, "'%s' is neither 'mean' nor 'last'", value);
}

static bool choose_log(struct serve *s, struct error *e)
{
    const char *form = s->options.log;
    bool is_json = strcmp(form, "json") == 0;
    if (strcmp(form, "none") == 0) {
        return true;
    }
    if (!is_json && strcmp(form, "text") != 0) {
        return error_set(e, ERROR_USAGE, "option --log: '%s' is not text, json or none", form);
    }
    s->service.log = (struct service_log){.write = serve_log_write,
                                          .form = is_json ? ACCESS_LOG_JSON : ACCESS_LOG_TEXT};
    return true;
}

/* Also refuses what would change nothing. */
static bool choose_spill(struct serve *s, struct error *e)
{
    const struct serve_options *o = &s->options;
    const char *limit = o->prefix_limit != NULL ? o->prefix_limit : default_prefix_limit;
    if (o->prefix_dir != NULL && o->prefix_dir[0] == '\0') {
        return error_set(e, ERROR_USAGE, "option --prefix-dir: the name is empty");
    }
    if (o->prefix_dir != NULL && o->no_prefix_cache) {
        return error_set(e, ERROR_USAGE,
                         "option --prefix-dir changes nothing with --no-prefix-cache");
    }
    if (o->prefix_limit != NULL && o->prefix_dir == NULL) {
        return error_set(e, ERROR_USAGE,
                         "option --prefix-limit changes nothing without --prefix-dir");
    }
    s->spill = (struct spill_options){.folder = o->prefix_dir, .note = serve_log_warn};
    return options_parse_size(limit, &s->spill.limit_bytes, e) ||
           error_prefix(e, "option --prefix-limit");
}

static void begin(struct serve *s, const struct cmd_env *env, int argc, char **argv)
{
    *s = (struct serve){.env = env,
                        .argc = argc,
                        .argv = argv,
                        .settings = {.prefix = "PUNA_SERVE_", .environment = env->all},
                        .options.model.batch = DEFAULT_BATCH,
                        .options.model.stop = &s->stop,
                        .options.model.warn = serve_log_warn,
                        .options.parallel = 8,
                        .options.drain_s = DEFAULT_DRAIN_S,
                        .options.log = "text",
                        .options.draft_max = ENGINE_DEFAULT_GUESSES};
    http_options_init(&s->options.http);
    listening_init(&s->options.listening);
    serve_usage_init(&s->usage);
    serving_limits_init(&s->options.limits, &s->options.http.limits);
    service_init(&s->service);
    s->service.warn = serve_log_warn;
    s->service.model.n_names = 1; /* the file's own comes first, when it is known */
}

/* What one value does not tell. */
static bool check_options(struct serve *s, struct error *e)
{
    return choose_log(s, e) &&
           serving_limits_choose(&s->options.limits, &s->options.http.limits, e) &&
           choose_spill(s, e);
}

static enum options_result read_options(struct serve *s, struct error *e)
{
    static const struct options_usage usage = {
        .command = "serve",
        .synopsis = "[OPTION]... [MODEL]",
        .about = "Serve a model to programs that speak OpenAI's HTTP API: give them the address\n"
                 "that is printed when the model is loaded, with /v1 behind it. Ctrl-C or SIGTERM\n"
                 "lets answers under way end, for 30 seconds at most (--drain-timeout); a second\n"
                 "one does not.",
    };
    struct serve_options *o = &s->options;
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_TEXT, "config", 0, NULL, "FILE", &s->settings.config, 0, 0,
         "read options from there, a line 'name = value' each; the\ncommand line goes before the "
         "environment (PUNA_SERVE_PORT),\nthat before the file",
         NULL},
        {OPTION_FLAG, "print-config", 0, NULL, NULL, &s->settings.print, 0, 0,
         "print all options, and where they are set, as such a file;\nthen leave", NULL},
        OPTIONS_LISTENING(o->listening),
        OPTION_SANDBOX(s->sandbox),
        {OPTION_TEXT, "store", 0, NULL, "FILE", &s->keys.option, 0, 0,
         "where puna keys keeps the keys that are asked for (default:\n$PUNA_STORE, else "
         "puna/store.db "
         "in $XDG_DATA_HOME or\n~/.local/share)",
         NULL},
        {OPTION_FLAG, "no-auth", 0, NULL, NULL, &o->no_auth, 0, 0,
         "allow a host that other machines can reach, though\nthere are no keys", NULL},
        OPTIONS_USAGE(s->usage),
        {OPTION_CALLS, "alias", 0, NULL, "NAME", &s->service.model, 0, 0,
         "a further name of the model; may be given many times;\nSIGHUP reads those of --config "
         "again",
         serve_aliases_add},
        {OPTION_U32, "parallel", 0, NULL, "N", &o->parallel, 1, 1024,
         "sequences computed together (default: 8)", NULL},
        {OPTION_CALLS, "cors-origin", 0, NULL, "ORIGIN", o, 0, 0,
         "pages of this origin may call, and no others; may be given\nmany times (default: all "
         "pages may)",
         add_origin},
        {OPTION_TEXT, "log", 0, NULL, "FORM", &o->log, 0, 0,
         "a line for each request on standard error: text, json\nor none (default: text)", NULL},
        {OPTION_U32, "drain-timeout", 0, NULL, "SECONDS", &o->drain_s, 0, 86400,
         "that answers under way have to end after a signal\n(default: 30)", NULL},
        {OPTION_U32, "stall-timeout", 0, NULL, "SECONDS", &s->service.stall_s, 1, 86400,
         "without a layer of the model computed, after which the\nengine counts as stuck: /health "
         "says so, and what it had\nbegun ends with an error (default: 120)",
         NULL},
        {OPTION_TEXT, "kv-size", 0, NULL, "SIZE", &o->kv_size, 0, 0,
         "memory for keys and values, of the prefix cache too\n(default: a context for each "
         "sequence, at most half of\nwhat is free)",
         NULL},
        {OPTION_FLAG, "no-prefix-cache", 0, NULL, NULL, &o->no_prefix_cache, 0, 0,
         "compute every prompt from its first token", NULL},
        {OPTION_TEXT, "prefix-dir", 0, NULL, "DIR", &o->prefix_dir, 0, 0,
         "keep long beginnings of prompts there, for the next start;\nwho may read the files can "
         "read the prompts (default: none)",
         NULL},
        {OPTION_TEXT, "prefix-limit", 0, NULL, "SIZE", &o->prefix_limit, 0, 0,
         "bytes of all of them together (default: 16G); those not\nused for longest go", NULL},
        {OPTION_U32, "draft-max", 0, NULL, "N", &o->draft_max, 0, ENGINE_MAX_GUESSES,
         "tokens guessed ahead in a step where the text repeats;\n0 turns it off (default: 7); "
         "never changes the result",
         NULL},
        {OPTION_TEXT, "content-filter", 0, NULL, "MODE", &s->filter.mode, 0, 0,
         "on: answers tell what the filter found (default);\nblock: they end before it; off: "
         "there is none",
         NULL},
        {OPTION_TEXT, "profanity-words", 0, NULL, "FILE", &s->filter.words, 0, 0,
         "words that count as profanity, one a line, in place of\nthe lists that are built in",
         NULL},
        OPTIONS_CHAT(o->chat),
        {OPTION_CALL, "pooling", 0, NULL, "TYPE", &o->pooling, 0, 0,
         "what the vector of a text is, if a request for embeddings\ndoes not say: 'mean' of its "
         "tokens' hidden states or the\n'last' one (default: mean)",
         set_pooling},
        OPTIONS_SERVING_LIMITS(o->limits),
        OPTIONS_MODEL(o->model, "512"),
        OPTIONS_CACHE(o->model),
    };
    enum { N_SPECS = sizeof specs / sizeof specs[0] };
    const struct options_line line = {
        .argc = s->argc, .argv = s->argv, .operands = &s->model, .max_operands = 1};
    enum options_result result = settings_parse(&s->settings, &usage, specs, N_SPECS, &line, e);
    if (result == OPTIONS_RUN && s->settings.print) {
        settings_print(&s->settings, specs, N_SPECS);
    }
    return result;
}

/* --- loading */

/* What prefixes on disk are of. */
static bool digest_maker(struct serve *s, struct error *e)
{
    struct digest parts[2] = {s->weights};
    if (!cmd_digest_program(&parts[1], e)) {
        return error_prefix(e, "option --prefix-dir");
    }
    s->spill.maker = digest_of(parts, sizeof parts);
    return true;
}

static void *load(void *argument)
{
    struct serve *s = argument;
    s->failed = !session_open(&s->session, s->env, s->model_path, &s->options.model, &s->error) ||
                !model_digest(&s->session.model, s->session.pool, &s->weights, &s->error) ||
                (s->spill.folder != NULL && !digest_maker(s, &s->error));
    struct pool *own = s->failed ? NULL : pool_create(1, NULL); /* the engine has the session's */
    s->session.progress.wanted = false;                         /* nobody waits any more */
    atomic_store(&s->is_storing, true);
    http_server_post(s->server, &s->loaded);
    if (own != NULL) {
        session_keep(&s->session, own);
    }
    pool_destroy(own);
    return NULL;
}

/* --- before that: files are found, and then rights are given up */

static bool start_loader(struct serve *s, void *(*fn)(void *), struct error *e)
{
    int code = pthread_create(&s->loader, NULL, fn, s);
    s->has_loader = code == 0;
    return code == 0 || error_set(e, ERROR_IO, "no thread to load the model: %s", strerror(code));
}

/* Bringing the default model takes another program, and with that its time. */
static void *find(void *argument)
{
    struct serve *s = argument;
    s->failed = !session_check(&s->options.model, &s->error) ||
                !cmd_find_model(s->env, s->model, &s->model_path, &s->error);
    http_server_post(s->server, &s->found);
    return NULL;
}

/* The sandbox is for threads to come, so that the one that found the files has to be gone, and that
 * of the ledger begins behind it. */
static void on_found(void *argument)
{
    struct serve *s = argument;
    const struct serve_sandbox_files files = {.model = s->model_path,
                                              .stores = {s->keys.path, s->usage.path},
                                              .prefix_folder = s->spill.folder,
                                              .config = s->settings.config,
                                              .listening = &s->options.listening,
                                              .options = &s->options.model};
    pthread_join(s->loader, NULL);
    s->has_loader = false;
    bool ok = !s->failed && serve_sandbox_enter(&s->sandbox, s->env, &files, &s->error) &&
              serve_usage_start(&s->usage, &s->service, s->server, serve_log_warn, &s->error) &&
              start_loader(s, load, &s->error);
    if (!ok) { /* else `failed` is the loader's by now */
        s->failed = true;
        http_server_stop(s->server);
    }
}

/* --- after it */

static void take_name(struct serve *s)
{
    const char *slash = strrchr(s->session.path, '/');
    const char *base = slash != NULL ? slash + 1 : s->session.path;
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".gguf") == 0) {
        n -= 5;
    }
    snprintf(s->name, sizeof s->name, "%.*s", (int)(n < NAME_BYTES ? n : NAME_BYTES - 1), base);
    serve_aliases_set_own(&s->service.model, s->name);
    struct stat file;
    s->service.model.created = stat(s->session.path, &file) == 0 ? (int64_t)file.st_mtime : 0;
}

/* Memory for keys and values: as asked for, else a context for every sequence, but no more than
 * half of what is free, and room for one. */
static bool choose_kv_bytes(const struct serve *s, uint64_t *out, struct error *e)
{
    if (s->options.kv_size != NULL) {
        return options_parse_size(s->options.kv_size, out, e) ||
               error_prefix(e, "option --kv-size");
    }
    const struct model_config *c = &s->session.model.config;
    uint64_t one = kv_bytes(c, s->session.kv_type, s->session.n_ctx);
    uint64_t all = one * s->options.parallel, half = mem_available() / 2;
    *out = all < half ? all : half > one ? half : one;
    return true;
}

/* What the bytes of an answer depend on beside the request: the file's keys and values (tokens,
 * template), the weights and the arithmetic. The same on every machine. */
static uint64_t digest(const struct serve *s)
{
    struct {
        struct digest head, weights;
        char arithmetic[96];
    } all = {gguf_head_digest(s->session.file), s->weights, ""}; /* bytes: no padding */
    snprintf(all.arithmetic, sizeof all.arithmetic, "%s %s %s", PUNA_VERSION,
             kern_numerics_name(s->session.model.kern->numerics), kv_type_name(s->session.kv_type));
    struct digest d = digest_of(&all, sizeof all);
    uint64_t first;
    memcpy(&first, d.bytes, sizeof first);
    return first;
}

static bool start_worker(struct serve *s, struct error *e)
{
    const struct session *session = &s->session;
    s->trie = token_trie_create(session->tokenizer, e);
    if (s->trie == NULL) {
        return false;
    }
    struct worker_options options = {
        .engine = {.n_ctx = session->n_ctx,
                   .max_sequences = s->options.parallel,
                   .batch = s->options.model.batch,
                   .n_choices = tokenizer_info(session->tokenizer)->n_tokens,
                   .max_guesses = s->options.draft_max,
                   .kv_type = session->kv_type,
                   .prefix_pages = s->options.no_prefix_cache ? 0 : UINT32_MAX,
                   .spill = s->spill.folder != NULL ? &s->spill : NULL},
        .max_queue = s->options.limits.queue,
        .max_per_owner = s->options.limits.queue_per_key,
        .trie = s->trie,
        .metrics = &s->service.metrics};
    if (!choose_kv_bytes(s, &options.engine.kv_bytes, e)) {
        return false;
    }
    s->worker = worker_create(&session->model, session->pool, &options, e);
    return s->worker != NULL;
}

static bool start_service(struct serve *s, struct error *e)
{
    struct service_engine engine = {.server = s->server,
                                    .worker = s->worker,
                                    .model = &s->session.model,
                                    .tokenizer = s->session.tokenizer,
                                    .guard = s->filter.is_on ? &s->filter.guard : NULL,
                                    .n_ctx = s->session.n_ctx,
                                    .limits = s->options.limits.service,
                                    .pooling = s->options.pooling,
                                    .digest = digest(s)};
    s->has_chat = chat_options_open(&s->options.chat, s->session.file, s->session.tokenizer,
                                    &s->chat, &engine.no_chat);
    if (!s->has_chat &&
        (chat_options_given(&s->options.chat) != NULL || engine.no_chat.code == ERROR_MEMORY)) {
        *e = engine.no_chat; /* a server without chats is not what was asked for */
        return false;
    }
    engine.chat = s->has_chat ? &s->chat : NULL;
    if (getrandom(&engine.seed, sizeof engine.seed, 0) != (ssize_t)sizeof engine.seed) {
        return error_set(e, ERROR_IO, "no random numbers");
    }
    return service_start(&s->service, &engine, e);
}

static void on_loaded(void *argument)
{
    struct serve *s = argument;
    if (!s->failed) {
        take_name(s);
        s->failed = !start_worker(s, &s->error) || !start_service(s, &s->error);
    }
    if (s->failed) {
        http_server_stop(s->server);
        return;
    }
    const char *url;
    for (size_t i = 0; (url = http_server_url(s->server, i)) != NULL; i++) {
        printf("listening on %s\n", url);
    }
    serve_sandbox_print(&s->sandbox);
    fflush(stdout);
    service_manager_tell(&s->manager, "READY=1\nSTATUS=serving");
}

/* --- the end */

static void tell_drain(uint32_t n_clients, uint32_t seconds)
{
    char line[160];
    int n = snprintf(line, sizeof line,
                     "puna serve: draining: %u client%s being served, for %u s at most; "
                     "Ctrl-C again quits at once\n",
                     n_clients, n_clients == 1 ? " is" : "s are", seconds);
    serve_log_write((struct str){line, (size_t)n});
}

/* What still runs is told. */
static void end_answers(void *argument)
{
    struct serve *s = argument;
    http_server_drain(s->server, LAST_WORDS_MS);
    service_end_answers(&s->service);
}

/* What runs is finished; who asks twice does not want to wait for that. */
static void on_signal(void *argument)
{
    struct serve *s = argument;
    atomic_store(&s->stop, true);
    if (s->is_ending) {
        if (atomic_load(&s->is_storing)) {
            pthread_join(s->loader, NULL);
        }
        _exit(error_exit_code(ERROR_INTERRUPTED));
    }
    s->is_ending = true;
    service_manager_tell(&s->manager, "STOPPING=1\nSTATUS=answers under way end");
    if (s->options.drain_s == 0) {
        end_answers(s);
    } else {
        uint32_t n = http_server_drain(s->server, s->options.drain_s * 1000 + LAST_WORDS_MS);
        if (n > 0) {
            tell_drain(n, s->options.drain_s);
        }
        http_timer_start(s->drain, s->options.drain_s * 1000);
    }
}

/* --- beside it */

/* why: NULL, nothing is wrong */
static void tell_reload(const char *what, const struct error *why)
{
    char line[ERROR_TEXT_BYTES + 64];
    int n = snprintf(line, sizeof line, "puna serve: SIGHUP: %s%s\n", what,
                     why != NULL ? why->text : "");
    serve_log_write((struct str){line, (size_t)n});
}

/* Of a file that the next start would refuse nothing is taken: so it is read as by a start, for a
 * server that never runs. */
static bool read_aliases(struct serve *s, bool *out_changed, struct error *e)
{
    *out_changed = false;
    if (s->settings.config == NULL) {
        return true;
    }
    struct serve *fresh = mem_alloc(1, sizeof *fresh, "options", e);
    if (fresh == NULL) {
        return false;
    }
    begin(fresh, s->env, s->argc, s->argv);
    bool ok = read_options(fresh, e) == OPTIONS_RUN && check_options(fresh, e);
    if (ok) {
        *out_changed = serve_aliases_replace(&s->service.model, &fresh->service.model);
    }
    settings_finish(ok ? &s->again : &fresh->settings);
    s->again = ok ? fresh->settings : s->again;
    mem_free(fresh);
    return ok;
}

/* New connections get the new certificate, those there keep theirs; keys and aliases count at
 * once. A manager that waits for the model, or for the end, must not take this READY for that. */
static void reload(void *argument)
{
    struct serve *s = argument;
    s->reload_waits = false;
    struct error e = {0};
    bool is_told = s->service.ready && !s->is_ending, is_other = false;
    if (is_told) {
        service_manager_tell(&s->manager, "RELOADING=1\nMONOTONIC_USEC=%llu",
                             (unsigned long long)(clock_now_ns() / 1000));
    }
    if (s->options.http.tls_cert != NULL) {
        bool ok = http_server_reload_tls(s->server, &e);
        tell_reload(ok ? "read the certificate again" : "the certificate stays: ", ok ? NULL : &e);
    }
    if (!read_aliases(s, &is_other, &e)) {
        tell_reload("the aliases stay: ", &e);
    } else if (is_other) {
        tell_reload("the model has other aliases", NULL);
    }
    serve_keys_reload(&s->keys);
    if (is_told) {
        service_manager_tell(&s->manager, "READY=1");
    }
}

/* Thousands at once are one: each comes here, one after the other, and clients wait meanwhile. */
static void on_hangup(void *argument)
{
    struct serve *s = argument;
    if (!s->reload_waits) {
        s->reload_waits = true;
        http_timer_start(s->reload, 0);
    }
}

static void on_watchdog(void *argument)
{
    struct serve *s = argument;
    if (service_is_healthy(&s->service)) {
        service_manager_tell(&s->manager, "WATCHDOG=1");
    }
    http_timer_start(s->watchdog, s->manager.watchdog_ms);
}

static bool start_watchdog(struct serve *s, struct error *e)
{
    if (s->manager.watchdog_ms > 0) {
        s->watchdog = http_timer_create(s->server, on_watchdog, s, e);
        if (s->watchdog == NULL) {
            return false;
        }
        on_watchdog(s);
    }
    return true;
}

/* Loading cannot be interrupted, and nothing of it needs an end; a file that is being written does.
 * A loader that is past loading sees `stop`, as that was set before is_storing was looked at. */
static void wait_for_loader(struct serve *s)
{
    atomic_store(&s->stop, true);
    if (!atomic_load(&s->is_storing) && s->is_ending) {
        _exit(cmd_finish_output("serve", 0));
    }
    if (s->has_loader) {
        pthread_join(s->loader, NULL);
    }
}

/* --- the beginning */

/* Every connection is a file, and the usual limit of 1024 is for programs that use select(). */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t most = limit.rlim_max < MOST_FILES ? limit.rlim_max : MOST_FILES;
        limit.rlim_cur = limit.rlim_cur < most ? most : limit.rlim_cur;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool create_server(struct serve *s, struct error *e)
{
    struct http_options *o = &s->options.http;
    if (!listening_choose(&s->options.listening, s->manager.sockets, s->manager.n_sockets, o, e)) {
        return false;
    }
    o->tls_note = serve_log_warn;
    o->only_loopback =
        !s->options.no_auth && (s->keys.auth == NULL || auth_n_keys(s->keys.auth) == 0);
    o->on_head = service_on_head;
    o->on_request = service_on_request;
    o->on_answer = service_on_answer;
    o->on_end = service_on_end;
    o->context = &s->service;
    s->server = http_server_create(o, e);
    if (s->server == NULL) {
        if (e->code == ERROR_USAGE) {
            error_prefix(e, "option --host");
            size_t n = strlen(e->text);
            snprintf(e->text + n, sizeof e->text - n,
                     ", and there are no keys: make one with puna keys add, or give --no-auth if "
                     "all of them may use the model");
        }
        return false;
    }
    s->drain = http_timer_create(s->server, end_answers, s, e);
    s->reload = s->drain == NULL ? NULL : http_timer_create(s->server, reload, s, e);
    return s->drain != NULL && s->reload != NULL && serve_keys_watch(&s->keys, s->server, e) &&
           http_server_on_signal(s->server, SIGHUP, on_hangup, s, e) && start_watchdog(s, e) &&
           http_server_on_signal(s->server, SIGINT, on_signal, s, e) &&
           http_server_on_signal(s->server, SIGTERM, on_signal, s, e);
}

static bool run(struct serve *s, struct error *e)
{
    raise_file_limit();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of who writes it, no end */
    if (!content_filter_open(&s->filter, e) ||
        !serve_keys_open(&s->keys, s->env, s->options.no_auth, e)) {
        return false;
    }
    s->service.auth = s->keys.auth;
    if (!serve_usage_open(&s->usage, s->env, &s->keys, e) ||
        !serve_keys_count(&s->keys, s->usage.path, e) || !create_server(s, e)) {
        return false;
    }
    service_manager_tell(&s->manager, "STATUS=loading the model");
    s->loaded = (struct http_task){.run = on_loaded, .argument = s};
    s->found = (struct http_task){.run = on_found, .argument = s};
    if (!start_loader(s, find, e)) {
        return false;
    }
    bool ok = http_server_run(s->server, e);
    wait_for_loader(s);
    if (s->failed) {
        *e = s->error;
        return false;
    }
    return ok;
}

/* A name that was mistyped must not become a tree of folders. */
static bool check_parent(const char *folder, struct error *e)
{
    struct stat s;
    char copy[PATH_MAX];
    int n = snprintf(copy, sizeof copy, "%s", folder);
    const char *parent = n > 0 && n < PATH_MAX ? dirname(copy) : ".";
    return stat(parent, &s) == 0 || errno != ENOENT ||
           error_set(e, ERROR_IO, "%s: there is no folder %s to make it in", folder, parent);
}

/* A folder in which nothing can be stored may still have prefixes to read. */
static bool make_prefix_folder(struct serve *s, struct error *e)
{
    const struct keep k = {.folder = s->spill.folder, .suffix = ""};
    char text[ERROR_TEXT_BYTES];
    int why_not = 0;
    if (k.folder == NULL) {
        return true;
    }
    if (!check_parent(k.folder, e) || !keep_make_folder(&k, &why_not, e)) {
        return error_prefix(e, "option --prefix-dir");
    }
    if (why_not != 0) {
        s->spill.reads_only = true;
        snprintf(text, sizeof text, "%s: %s; prefixes in it are read, and none are kept", k.folder,
                 strerror(why_not));
        print_warning(text);
    }
    return true;
}

/* While the worker ends its step and writes prefixes to disk a second signal ends the program at
 * once. */
static void leave_to_signals(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

int cmd_serve(const struct cmd_env *env, int argc, char **argv)
{
    static struct serve s;
    struct error e = {0};
    begin(&s, env, argc, argv);
    enum options_result result = read_options(&s, &e);
    if (result != OPTIONS_RUN || s.settings.print) {
        settings_finish(&s.settings);
        return result == OPTIONS_BAD ? cmd_fail("serve", &e) : cmd_finish_output("serve", 0);
    }
    bool ok = serve_sandbox_open(&s.sandbox, &e) && service_manager_open(&s.manager, env, &e) &&
              check_options(&s, &e) && chat_options_read(&s.options.chat, &e) &&
              make_prefix_folder(&s, &e) && run(&s, &e);
    leave_to_signals();
    worker_destroy(s.worker);
    http_timer_destroy(s.drain);
    http_timer_destroy(s.reload);
    serve_keys_unwatch(&s.keys);
    http_timer_destroy(s.watchdog);
    service_finish(&s.service);
    serve_usage_close(&s.usage);
    http_server_destroy(s.server);
    serve_keys_close(&s.keys);
    if (s.has_chat) {
        chat_template_finish(&s.chat);
    }
    chat_options_finish(&s.options.chat);
    token_trie_destroy(s.trie);
    session_close(&s.session);
    content_filter_close(&s.filter);
    service_manager_close(&s.manager);
    mem_free(s.model_path);
    settings_finish(&s.again);
    settings_finish(&s.settings);
    return ok ? cmd_finish_output("serve", 0) : cmd_fail("serve", &e);
}
