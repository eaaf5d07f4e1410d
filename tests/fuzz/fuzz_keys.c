/* fuzz_keys.c - command lines of `puna keys`, a line each, on one store. Words are separated by one
 * blank; byte 1 stands for the id of the key made last, byte 2 for its secret. Whatever was said, a
 * failure is one line that tells no secret, JSON is JSON, and a server can read what is kept. */
#include "serve/auth.h"

#include "captured.h"
#include "scratch.h"

#include <jansson.h>

enum { MOST_LINES = 12, MOST_WORDS = 24, WORD_BYTES = 1024 };

struct shell {
    char store[SCRATCH_PATH_BYTES];
    char id[SECRET_ID_BYTES], secret[SECRET_BYTES];
    size_t n_added;
};

static void run(const struct shell *s, int argc, char **argv, struct captured *out)
{
    static char none[] = "";
    const struct cmd_env env = {.home = none, .store = s->store};
    captured_run(out, cmd_keys, &env, argc, argv);
}

/* --- what it printed */

static bool has_text(struct str text, const char *what)
{
    return what[0] != '\0' && text.n > 0 && memmem(text.p, text.n, what, strlen(what)) != NULL;
}

static void check_failure(const struct shell *s, const struct captured *c)
{
    struct str err = {c->err, c->n_err};
    captured_check_failure(c);
    require(!has_text(err,
                      s->secret[0] != '\0' ? s->secret + SECRET_CHARS - SECRET_RANDOM_DIGITS : ""));
}

/* Takes the secret that was shown, if one was; nobody else's id is in it. */
static void note_secret(struct shell *s, struct str text)
{
    enum secret_kind kind;
    const char *at = text.n >= SECRET_CHARS ? memmem(text.p, text.n, "sk-puna-", 8) : NULL;
    if (at == NULL || (size_t)(text.p + text.n - at) < SECRET_CHARS) {
        return;
    }
    if (secret_read((struct str){at, SECRET_CHARS}, &kind, s->id)) {
        require(kind == SECRET_OF_STORE);
        memcpy(s->secret, at, SECRET_CHARS);
        s->secret[SECRET_CHARS] = '\0';
    }
}

static void check_json(struct str text)
{
    json_t *root = json_loadb(text.p, text.n, 0, NULL);
    require(root != NULL);
    json_decref(root);
}

/* --- the script */

/* Words of a line into storage; what would write elsewhere is left out. */
static int split(const struct shell *s, struct str line, char storage[][WORD_BYTES], char **argv)
{
    int argc = 0;
    snprintf(storage[argc], WORD_BYTES, "keys");
    argv[argc] = storage[argc];
    argc++;
    size_t at = 0;
    while (at <= line.n && argc < MOST_WORDS) {
        const char *end = at < line.n ? memchr(line.p + at, ' ', line.n - at) : NULL;
        size_t n = (end != NULL ? (size_t)(end - line.p) : line.n) - at, n_word = 0;
        char *word = storage[argc];
        word[0] = '\0';
        for (size_t i = at; i < at + n; i++) {
            const char *stands_for = line.p[i] == 1 ? s->id : line.p[i] == 2 ? s->secret : NULL;
            int more = stands_for != NULL
                           ? snprintf(word + n_word, WORD_BYTES - n_word, "%s", stands_for)
                           : snprintf(word + n_word, WORD_BYTES - n_word, "%c", line.p[i]);
            n_word += (size_t)more < WORD_BYTES - n_word ? (size_t)more : 0;
        }
        if (strncmp(word, "--st", 4) != 0) {
            argv[argc++] = word;
        }
        at += n + 1;
    }
    argv[argc] = NULL;
    return argc;
}

static bool has_word(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static void play(struct shell *s, struct str line)
{
    static char storage[MOST_WORDS + 1][WORD_BYTES];
    char *argv[MOST_WORDS + 2];
    int argc = split(s, line, storage, argv);
    bool is_json = has_word(argc, argv, "--json") && !has_word(argc, argv, "--help") &&
                   !has_word(argc, argv, "-h");
    struct captured c;
    run(s, argc, argv, &c);
    struct str out = {c.out, c.n_out};
    if (c.code != 0) {
        check_failure(s, &c);
    } else {
        char before[SECRET_BYTES];
        memcpy(before, s->secret, sizeof before);
        note_secret(s, out);
        s->n_added += strcmp(before, s->secret) != 0 && has_word(argc, argv, "add");
        if (is_json && out.n > 0 && (out.p[0] == '{' || out.p[0] == '[')) {
            check_json(out);
        }
    }
    captured_finish(&c);
}

/* All that was added is there, for those who list it and for the server. */
static void check_store(struct shell *s)
{
    char words[3][16] = {"keys", "list", "--json"};
    char *argv[] = {words[0], words[1], words[2], NULL};
    struct captured c;
    run(s, 3, argv, &c);
    require(c.code == 0);
    check_json((struct str){c.out, c.n_out});
    captured_finish(&c);
    struct auth *auth = auth_create(s->store, NULL);
    require(auth != NULL && auth_reload(auth, true, 0, 1, NULL));
    require(auth_n_keys(auth) == s->n_added);
    auth_destroy(auth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct shell s = {.n_added = 0};
    struct str rest = {(const char *)data, n_bytes};
    scratch_name("keys", s.store);
    for (int i = 0; i < MOST_LINES && rest.n > 0; i++) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
        rest = str_skip(rest, end != NULL ? line.n + 1 : line.n);
        play(&s, line);
    }
    check_store(&s);
    scratch_remove(s.store);
    return 0;
}
