/* serve_sandbox.c - the list of files and folders. Certificates, stores and a configuration are
 * replaced by others of the same name, so it is their folders that are named; of a link those of
 * both its ends. */
#include "cmd/serve_sandbox.h"

#include "base/keep.h"
#include "base/mem.h"
#include "cmd/serve_log.h"
#include "cmd/session.h"

#include <libgen.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SPLIT_SUFFIX_BYTES = sizeof "-00001-of-00002.gguf" - 1 };

struct list {
    size_t n, capacity;
    struct sandbox_path *paths; /* whose texts are mem_alloc's */
    bool is_short;              /* memory ran out */
};

static void add(struct list *l, const char *path, enum sandbox_access access)
{
    if (path == NULL) {
        return;
    }
    if (l->n == l->capacity) {
        size_t capacity = l->capacity * 2 + 32;
        void *moved = mem_resize(l->paths, capacity, sizeof *l->paths, "list of files", NULL);
        l->paths = moved != NULL ? moved : l->paths;
        l->capacity = moved != NULL ? capacity : l->capacity;
    }
    size_t n_bytes = strlen(path) + 1;
    char *text = l->n < l->capacity ? mem_alloc(n_bytes, 1, "list of files", NULL) : NULL;
    if (text == NULL) {
        l->is_short = true;
        return;
    }
    memcpy(text, path, n_bytes);
    l->paths[l->n++] = (struct sandbox_path){text, access};
}

static void list_finish(struct list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        mem_free((char *)l->paths[i].path);
    }
    mem_free(l->paths);
}

static void add_folder_of(struct list *l, const char *path, enum sandbox_access access)
{
    char copy[PATH_MAX], target[PATH_MAX];
    if (path == NULL) {
        return;
    }
    snprintf(copy, sizeof copy, "%s", path);
    add(l, dirname(copy), access);
    if (realpath(path, target) != NULL) {
        add(l, dirname(target), access);
    }
}

/* What the machine tells of its CPUs, randomness for SQLite, a descriptor in reserve; the program
 * itself, of which prefixes on disk know. */
static void add_machine(struct list *l)
{
    static const char *const paths[] = {"/sys/devices/system", "/dev/urandom", "/dev/null",
                                        "/proc/self/exe"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        add(l, paths[i], SANDBOX_READ);
    }
}

/* A split model's other files are named like the first. */
static void add_model(struct list *l, const char *path)
{
    char other[PATH_MAX];
    unsigned n_shards = 0;
    int n_suffix = 0;
    size_t n = strlen(path);
    add(l, path, SANDBOX_READ);
    if (n <= SPLIT_SUFFIX_BYTES ||
        sscanf(path + n - SPLIT_SUFFIX_BYTES, "-00001-of-%5u.gguf%n", &n_shards, &n_suffix) != 1 ||
        n_suffix != SPLIT_SUFFIX_BYTES) {
        return;
    }
    for (unsigned i = 2; i <= n_shards; i++) {
        snprintf(other, sizeof other, "%.*s-%05u-of-%05u.gguf", (int)(n - SPLIT_SUFFIX_BYTES), path,
                 i, n_shards);
        add(l, other, SANDBOX_READ);
    }
}

/* A socket's file is removed at the end. */
static void add_sockets(struct list *l, const struct listening *listening)
{
    static const char local[] = "unix:";
    for (size_t i = 0; i < listening->n_hosts; i++) {
        const char *host = listening->hosts[i];
        if (strncmp(host, local, sizeof local - 1) == 0 && host[sizeof local - 1] != '@') {
            char copy[PATH_MAX];
            snprintf(copy, sizeof copy, "%s", host + sizeof local - 1);
            add(l, dirname(copy), SANDBOX_REMOVE);
        }
    }
}

/* The folder of a model's packed weights cannot be made later, so it is made now. */
static bool add_cache(struct list *l, const struct cmd_env *env,
                      const struct serve_sandbox_files *files, struct error *e)
{
    struct error none = {0};
    int why_not = 0;
    if (!session_may_keep(files->model, files->options)) {
        return true;
    }
    char *folder = cmd_user_path(env, env->xdg_cache_home, ".cache", "packed", &none);
    if (folder != NULL) {
        keep_make_folder(&(struct keep){.folder = folder, .suffix = ""}, &why_not, NULL);
        add(l, folder, SANDBOX_STORE);
    }
    mem_free(folder);
    return none.code != ERROR_MEMORY || error_set(e, none.code, "%s", none.text);
}

/* As a store that is not there yet is looked for, its folder has to be there. */
static void add_store(struct list *l, const char *store)
{
    char copy[PATH_MAX];
    if (store != NULL) {
        snprintf(copy, sizeof copy, "%s", store);
        mkdir(dirname(copy), 0700);
        add_folder_of(l, store, SANDBOX_STORE);
    }
}

static bool list_files(struct list *l, const struct cmd_env *env,
                       const struct serve_sandbox_files *files, struct error *e)
{
    add_machine(l);
    add_model(l, files->model);
    add_folder_of(l, files->listening->tls_cert, SANDBOX_READ);
    add_folder_of(l, files->listening->tls_key, SANDBOX_READ);
    add_folder_of(l, files->config, SANDBOX_READ);
    for (size_t i = 0; i < sizeof files->stores / sizeof files->stores[0]; i++) {
        add_store(l, files->stores[i]);
    }
    add(l, files->prefix_folder, SANDBOX_STORE);
    add_sockets(l, files->listening);
    return add_cache(l, env, files, e) &&
           (!l->is_short || error_set(e, ERROR_MEMORY, "out of memory: list of files in use"));
}

bool serve_sandbox_open(struct serve_sandbox *s, struct error *e)
{
    const char *mode = s->option != NULL ? s->option : "auto";
    s->is_off = strcmp(mode, "off") == 0;
    s->must = strcmp(mode, "on") == 0;
    if (!s->is_off && !s->must && strcmp(mode, "auto") != 0) {
        return error_set(e, ERROR_USAGE, "option --sandbox: '%s' is not auto, on or off", mode);
    }
    return s->is_off || sandbox_hide_memory(e);
}

static bool check_complete(const struct serve_sandbox *s, struct error *e)
{
    return (s->state.landlock > 0 && s->state.seccomp) ||
           error_set(e, ERROR_UNSUPPORTED, "option --sandbox on: this kernel has no %s%s%s",
                     s->state.landlock > 0 ? "" : "Landlock",
                     s->state.landlock > 0 || s->state.seccomp ? "" : " and no ",
                     s->state.seccomp ? "" : "seccomp");
}

bool serve_sandbox_enter(struct serve_sandbox *s, const struct cmd_env *env,
                         const struct serve_sandbox_files *files, struct error *e)
{
    struct error why = {0};
    if (s->is_off) {
        return true;
    }
    struct list l = {0};
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL); /* reads a file, now or never, */
    tzset();                                             /* and so does this */
    bool ok = list_files(&l, env, files, e);
    if (ok && !sandbox_enter(l.paths, l.n, &s->state, &why)) {
        ok = !s->must && why.code != ERROR_INTERNAL;
        if (ok) {
            serve_log_warn(why.text);
        } else {
            *e = why;
        }
    }
    list_finish(&l);
    return ok && (!s->must || check_complete(s, e));
}

void serve_sandbox_print(const struct serve_sandbox *s)
{
    if (s->state.landlock > 0) {
        printf("sandbox: Landlock %d%s\n", s->state.landlock,
               s->state.seccomp ? " and seccomp" : ", no seccomp");
    } else {
        printf("sandbox: %s\n", s->state.seccomp ? "seccomp, no Landlock"
                                : s->is_off      ? "off"
                                                 : "none");
    }
}
