/* cmd.c - what subcommands share: error lines, stdin, the model folder. */
#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/print.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char default_model[] = "SmolLM2-135M-Instruct.Q4_1.gguf";

int cmd_fail(const char *command, const struct error *e)
{
    fflush(stdout);
    fprintf(stderr, "puna %s: ", command);
    print_escaped(stderr, str_from(e->text), SIZE_MAX);
    putc('\n', stderr);
    return error_exit_code(e->code);
}

void cmd_warn_dropped(const char *command, size_t n_bytes)
{
    if (n_bytes > 0) {
        fflush(stdout);
        fprintf(stderr,
                "puna %s: warning: %zu byte%s left out: the vocabulary has no token for %s\n",
                command, n_bytes, n_bytes > 1 ? "s" : "", n_bytes > 1 ? "them" : "it");
    }
}

int cmd_finish_output(const char *command, int exit_code)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !failed) {
        return exit_code;
    }
    struct error e;
    error_set(&e, ERROR_IO, "standard output cannot be written: %s", strerror(errno ? errno : EIO));
    return cmd_fail(command, &e);
}

static bool read_all(FILE *f, size_t max_bytes, struct buf *out, struct error *e)
{
    enum { PIECE = 1 << 16 };
    size_t n = 1;
    while (n > 0) {
        if (!buf_reserve(out, PIECE, e)) {
            return false;
        }
        n = fread(out->data + out->n, 1, PIECE, f);
        out->n += n;
        if (out->n > max_bytes) {
            return error_set(e, ERROR_USAGE, "more than %zu bytes", max_bytes);
        }
    }
    return !ferror(f) || error_set(e, ERROR_IO, "%s", strerror(errno));
}

bool cmd_read_file(const char *path, size_t max_bytes, struct buf *out, struct error *e)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return error_set(e, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_IO, "%s", strerror(errno));
    }
    bool ok = read_all(f, max_bytes, out, e);
    fclose(f);
    return ok;
}

bool cmd_read_stdin(size_t max_bytes, char **out_text, size_t *out_n, struct error *e)
{
    enum { PIECE = 1 << 16 };
    struct buf b;
    buf_init(&b, max_bytes + PIECE);
    for (;;) {
        if (!buf_reserve(&b, PIECE, e)) {
            goto fail;
        }
        size_t n = fread(b.data + b.n, 1, PIECE, stdin);
        b.n += n;
        if (b.n > max_bytes) {
            error_set(e, ERROR_USAGE, "standard input has more than %zu bytes", max_bytes);
            goto fail;
        }
        if (n == 0) {
            break;
        }
    }
    if (ferror(stdin)) {
        error_set(e, ERROR_IO, "standard input cannot be read: %s", strerror(errno));
        goto fail;
    }
    *out_text = b.data;
    *out_n = b.n;
    return true;
fail:
    buf_finish(&b);
    return false;
}

static char *join(struct error *e, const char *a, const char *b, const char *c, const char *d)
{
    size_t n = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *path = mem_alloc(n, 1, "path", e);
    if (path != NULL) {
        snprintf(path, n, "%s%s%s%s", a, b, c, d);
    }
    return path;
}

char *cmd_user_path(const struct cmd_env *env, const char *xdg_home, const char *fallback,
                    const char *name, struct error *e)
{
    if (xdg_home != NULL && xdg_home[0] == '/') {
        return join(e, xdg_home, "/puna/", name, "");
    }
    if (env->home == NULL || env->home[0] == '\0') {
        error_set(e, ERROR_NOT_FOUND, "HOME is not set, so there is no place for '%s'", name);
        return NULL;
    }
    char *base = join(e, env->home, "/", fallback, "/puna/");
    char *path = base != NULL ? join(e, base, name, "", "") : NULL;
    mem_free(base);
    return path;
}

bool cmd_find_store(const struct cmd_env *env, const char *option, char **out_path, struct error *e)
{
    bool has_own = env->store != NULL && env->store[0] != '\0';
    const char *named = option != NULL ? option : has_own ? env->store : NULL;
    *out_path = named != NULL
                    ? join(e, named, "", "", "")
                    : cmd_user_path(env, env->xdg_data_home, ".local/share", "store.db", e);
    return *out_path != NULL;
}

bool cmd_find_usage_store(const struct cmd_env *env, const char *store_option,
                          const char *usage_option, char **out_path, struct error *e)
{
    char *store = NULL;
    if (usage_option == NULL && !cmd_find_store(env, store_option, &store, e)) {
        return false;
    }
    *out_path =
        usage_option != NULL ? join(e, usage_option, "", "", "") : join(e, store, "-usage", "", "");
    mem_free(store);
    return *out_path != NULL;
}

bool cmd_digest_program(struct digest *out, struct error *e)
{
    static const char path[] = "/proc/self/exe";
    void *data = MAP_FAILED;
    uint64_t n_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && file_size(fd, &n_bytes, NULL)) {
        data = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (data == MAP_FAILED) {
        return error_set(e, ERROR_IO, "%s cannot be read: %s", path, strerror(errno));
    }
    *out = digest_of(data, n_bytes);
    munmap(data, n_bytes);
    return true;
}

bool cmd_parse_duration(const char *text, int64_t *out, struct error *e)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    const int64_t most = (int64_t)100 * 365 * 86400;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (*text >= '0' && *text <= '9' && errno == 0 && n > 0 && end[0] == units[i].unit &&
            end[1] == '\0' && n <= (unsigned long long)(most / units[i].seconds)) {
            *out = (int64_t)n * units[i].seconds;
            return true;
        }
    }
    return error_set(e, ERROR_USAGE, "'%s' is not a time like 90s, 15m, 12h, 30d or 2w", text);
}

bool cmd_read_origin(const char *value, char out[static HTTP_CORS_ORIGIN_BYTES], struct error *e)
{
    if (!http_cors_is_origin(str_from(value))) {
        return error_set(e, ERROR_USAGE,
                         "'%s' is not like https://app.example or http://localhost:3000", value);
    }
    http_cors_write_origin(str_from(value), out);
    return true;
}

static char *models_dir(const struct cmd_env *env, struct error *e)
{
    if (env->models_dir != NULL && env->models_dir[0] != '\0') {
        return join(e, env->models_dir, "", "", "");
    }
    return cmd_user_path(env, env->xdg_data_home, ".local/share", "models", e);
}

/* One that a person named and mistyped must not be made because something was looked for in it. */
static bool check_named_folder(const struct cmd_env *env, const char *folder, struct error *e)
{
    struct stat s;
    bool is_named = env->models_dir != NULL && env->models_dir[0] != '\0';
    errno = ENOTDIR;
    return !is_named || (stat(folder, &s) == 0 && S_ISDIR(s.st_mode)) ||
           error_set(e, ERROR_NOT_FOUND, "PUNA_MODELS names no folder: %s: %s", folder,
                     strerror(errno));
}

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && !S_ISDIR(s.st_mode);
}

/* The fetching script lies in tools/ beside a build tree, or in PREFIX/libexec/puna. */
static bool find_fetch_script(char *out, size_t capacity, struct error *e)
{
    static const char *const places[] = {"/../libexec/puna/fetch-default-model",
                                         "/../../tools/fetch-default-model"};
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        *slash = '\0';
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            int length = snprintf(out, capacity, "%s%s", self, places[i]);
            if (length > 0 && (size_t)length < capacity && access(out, X_OK) == 0) {
                return true;
            }
        }
    }
    return error_set(e, ERROR_NOT_FOUND,
                     "the default model is not in the model folder and the program "
                     "fetch-default-model is not installed; name a model file instead");
}

static bool fetch_default_model(const char *folder, struct error *e)
{
    char script[4200];
    if (!find_fetch_script(script, sizeof script, e)) {
        return false;
    }
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGINT, &ignore, &before); /* Ctrl-C is the script's, which tidies up */
    pid_t child = fork();
    if (child == 0) {
        sigaction(SIGINT, &before, NULL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl(script, script, folder, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    bool ran = child > 0 && waitpid(child, &status, 0) == child;
    sigaction(SIGINT, &before, NULL);
    if (!ran) {
        return error_set(e, ERROR_IO, "%s could not be started: %s", script, strerror(errno));
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code == error_exit_code(ERROR_INTERRUPTED)) {
        return error_set(e, ERROR_INTERRUPTED, "interrupted");
    }
    bool cannot_write = code == error_exit_code(ERROR_IO);
    return code == 0 ||
           error_set(e, cannot_write ? ERROR_IO : ERROR_NOT_FOUND,
                     "the default model could not be fetched (%s, status %d)", script, code);
}

/* The file that a bare name stands for: in the folder as it is, or with ".gguf" behind it. */
static char *path_in_folder(const char *folder, const char *model, struct error *e)
{
    char *path = join(e, folder, "/", model, "");
    if (path != NULL && !is_file(path)) {
        char *with_suffix = join(e, folder, "/", model, ".gguf");
        if (with_suffix != NULL && is_file(with_suffix)) {
            mem_free(path);
            return with_suffix;
        }
        mem_free(with_suffix);
    }
    return path;
}

/* Nothing lies in the folder under the name. */
static bool fetch_or_say(const struct cmd_env *env, const char *folder, const char *model,
                         struct error *e)
{
    if (!check_named_folder(env, folder, e)) {
        return model != NULL ? error_prefix(e, "no model '%s' here", model) : false;
    }
    if (model != NULL) {
        return error_set(e, ERROR_NOT_FOUND, "no model '%s': neither a file here nor in %s", model,
                         folder);
    }
    return fetch_default_model(folder, e);
}

bool cmd_find_model(const struct cmd_env *env, const char *model, char **out_path, struct error *e)
{
    if (model != NULL && (strchr(model, '/') != NULL || access(model, F_OK) == 0)) {
        *out_path = join(e, model, "", "", "");
        return *out_path != NULL;
    }
    char *folder = models_dir(env, e);
    if (folder == NULL) {
        return false;
    }
    char *path = path_in_folder(folder, model != NULL ? model : default_model, e);
    bool ok = path != NULL;
    if (ok && !is_file(path)) {
        ok = fetch_or_say(env, folder, model, e);
    }
    mem_free(folder);
    if (!ok) {
        mem_free(path);
        return false;
    }
    *out_path = path;
    return true;
}
