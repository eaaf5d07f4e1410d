/* keys.c - `puna keys`: who may use `puna serve`. A server that runs sees changes by itself. */
#include "cmd/keys.h"

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PATIENCE_MS = 5000 };

struct keys {
    struct store *store; /* NULL: list, and there is no file */
    const char *id;
    struct keys_change change;
    bool json;
    int64_t now;
};

/* --- verbs */

/* Its digest is in the store by now: who does not see the secret has to be told. */
static bool flush_secret(const struct store_key *k, struct error *e)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !failed) {
        return true;
    }
    return error_set(e, ERROR_IO,
                     "standard output cannot be written: %s; nobody has seen the secret that key "
                     "%s has now: puna keys rotate %s makes another",
                     strerror(errno != 0 ? errno : EIO), k->id, k->id);
}

/* The secret alone on standard output, so that a script can take it. */
static bool show_secret(const struct keys *s, const struct store_key *k, const char *secret,
                        struct error *e)
{
    bool ok = true;
    if (s->json) {
        ok = keys_print_json(k, secret, e) && flush_secret(k, e);
    } else {
        printf("%s\n", secret);
        ok = flush_secret(k, e);
    }
    if (ok && !s->json) {
        fprintf(stderr, "puna keys: this is the secret of key %s; it will not be shown again\n",
                k->id);
    }
    return ok;
}

static bool make_secret(struct store_key *k, char secret[SECRET_BYTES], struct error *e)
{
    return secret_make(SECRET_OF_STORE, k->id, secret, e) &&
           (secret_digest(str_from(secret), &k->hash) ||
            error_set(e, ERROR_MEMORY, "no memory for a digest"));
}

static bool add_row(struct store *s, const struct store_key *k, struct error *e)
{
    if (store_begin(s, e) && store_key_add(s, k, e) && store_commit(s, e)) {
        return true;
    }
    store_rollback(s);
    return false;
}

static bool add(struct keys *s, struct error *e)
{
    char secret[SECRET_BYTES];
    struct store_key k;
    store_key_init(&k);
    k.scopes = STORE_SCOPE_INFERENCE;
    k.created = s->now;
    bool ok =
        store_key_set_text(&k.name, STR(""), e) && store_key_set_text(&k.models, STR(""), e) &&
        store_key_set_text(&k.origins, STR(""), e) &&
        keys_change_apply(&s->change, s->now, &k, e) && secret_make_id(k.id, e) &&
        make_secret(&k, secret, e) && add_row(s->store, &k, e) && show_secret(s, &k, secret, e);
    secret_forget(secret);
    store_key_finish(&k);
    return ok;
}

static bool list(struct keys *s, struct error *e)
{
    return keys_print_list(s->store, s->json, s->now, e);
}

static bool show(struct keys *s, struct error *e)
{
    struct store_key k;
    if (!store_key_get(s->store, s->id, &k, e)) {
        return false;
    }
    bool ok = true;
    if (s->json) {
        ok = keys_print_json(&k, NULL, e);
    } else {
        keys_print_text(&k, s->now);
    }
    store_key_finish(&k);
    return ok;
}

static bool check_live(const struct store_key *k, struct error *e)
{
    return k->revoked == STORE_NEVER ||
           error_set(e, ERROR_USAGE, "key '%s' is revoked: add a new one", k->id);
}

static bool limit(struct keys *s, struct store_key *k, struct error *e)
{
    if (keys_change_given(&s->change) == 0) {
        return error_set(e, ERROR_USAGE, "limit changes nothing without an option");
    }
    return check_live(k, e) && keys_change_apply(&s->change, s->now, k, e);
}

static bool revoke(struct keys *s, struct store_key *k, struct error *e)
{
    (void)e;
    k->revoked = k->revoked == STORE_NEVER ? s->now : k->revoked;
    return true;
}

static bool rotate(struct keys *s, struct store_key *k, char secret[SECRET_BYTES], struct error *e)
{
    int64_t grace_s = 0;
    if (!check_live(k, e)) {
        return false;
    }
    if (s->change.grace != NULL && !cmd_parse_duration(s->change.grace, &grace_s, e)) {
        return error_prefix(e, "option --grace");
    }
    k->old_hash = k->hash;
    k->old_until = grace_s > 0 ? s->now + grace_s : 0;
    return make_secret(k, secret, e);
}

enum change_kind { LIMIT, REVOKE, ROTATE };

/* Nobody else changes it meanwhile. */
static bool change(struct keys *s, enum change_kind kind, struct error *e)
{
    char secret[SECRET_BYTES];
    struct store_key k = {0};
    if (!store_begin(s->store, e)) {
        return false;
    }
    bool ok = store_key_get(s->store, s->id, &k, e) &&
              (kind == LIMIT    ? limit(s, &k, e)
               : kind == REVOKE ? revoke(s, &k, e)
                                : rotate(s, &k, secret, e)) &&
              store_key_update(s->store, &k, e) && store_commit(s->store, e);
    if (!ok) {
        store_rollback(s->store);
    } else if (kind == ROTATE) {
        ok = show_secret(s, &k, secret, e);
    } else if (s->json) {
        ok = keys_print_json(&k, NULL, e);
    }
    secret_forget(secret);
    store_key_finish(&k);
    return ok;
}

static bool do_limit(struct keys *s, struct error *e)
{
    return change(s, LIMIT, e);
}

static bool do_revoke(struct keys *s, struct error *e)
{
    return change(s, REVOKE, e);
}

static bool do_rotate(struct keys *s, struct error *e)
{
    return change(s, ROTATE, e);
}

/* --- the command */

struct verb {
    const char *name;
    bool (*run)(struct keys *s, struct error *e);
    unsigned options; /* that it takes */
    bool has_id;
};

static const struct verb verbs[] = {
    {"add", add, KEYS_LIMITS | KEYS_JSON, false},
    {"list", list, KEYS_JSON, false},
    {"show", show, KEYS_JSON, true},
    {"limit", do_limit, KEYS_LIMITS | KEYS_JSON, true},
    {"revoke", do_revoke, KEYS_JSON, true},
    {"rotate", do_rotate, KEYS_GRACE | KEYS_JSON, true},
};

/* A secret among the words, or within one: no error may repeat it, and no name of a key be one. */
static bool check_words(int argc, char **argv, struct error *e)
{
    enum secret_kind kind;
    char id[SECRET_ID_BYTES];
    for (int i = 1; i < argc; i++) {
        struct str rest = str_from(argv[i]);
        for (; rest.n >= SECRET_CHARS; rest = str_skip(rest, 1)) {
            if (secret_read((struct str){rest.p, SECRET_CHARS}, &kind, id)) {
                return error_set(e, ERROR_USAGE, "a secret is no argument, its key's id is: %s",
                                 id);
            }
        }
    }
    return true;
}

static const struct verb *find_verb(const char *name, struct error *e)
{
    for (size_t i = 0; name != NULL && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    static const char forms[] = "add, list, show, limit, revoke or rotate (see puna keys --help)";
    if (name == NULL) {
        error_set(e, ERROR_USAGE, "what to do is missing: %s", forms);
    } else {
        error_set(e, ERROR_USAGE, "'%s' is not %s", name, forms);
    }
    return NULL;
}

/* Nothing that was said is without effect. */
static bool check_verb(const struct keys *s, const struct verb *v, struct error *e)
{
    static const char *const names[] = {
        "name", "scope",      "expires",  "model",          "origin",           "rpm",
        "tpm",  "concurrent", "priority", "tokens-per-day", "tokens-per-month", "grace"};
    unsigned given = keys_change_given(&s->change) & ~v->options;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((given >> i & 1) != 0) {
            return error_set(e, ERROR_USAGE, "option --%s changes nothing with %s", names[i],
                             v->name);
        }
    }
    if (v->has_id && s->id == NULL) {
        return error_set(e, ERROR_USAGE, "%s needs the id of a key (puna keys list shows all)",
                         v->name);
    }
    if (v->has_id) {
        return secret_is_id(str_from(s->id)) ||
               error_set(e, ERROR_USAGE,
                         "what %s was given is no id, which is 12 hexadecimal digits (puna keys "
                         "list shows all)",
                         v->name);
    }
    return s->id == NULL ||
           error_set(e, ERROR_USAGE, "surplus argument '%s' (see puna keys --help)", s->id);
}

/* Before a store is made: it would be there with no key in it, and its server ask for none. */
static bool check_change(const struct keys *s, struct error *e)
{
    struct store_key k;
    store_key_init(&k);
    bool ok = keys_change_apply(&s->change, s->now, &k, e);
    store_key_finish(&k);
    return ok;
}

static bool run(struct keys *s, const struct verb *v, const char *path, struct error *e)
{
    const struct store_options options = {.schema = &store_keys_schema,
                                          .path = path,
                                          .creates = v->run == add,
                                          .patience_ms = PATIENCE_MS};
    s->now = (int64_t)time(NULL);
    if (!check_change(s, e)) {
        return false;
    }
    s->store = store_open(&options, e);
    if (s->store == NULL && !(v->run == list && e->code == ERROR_NOT_FOUND)) {
        return false;
    }
    if (s->store == NULL) {
        struct error none;
        error_set(&none, ERROR_NOT_FOUND, "%s: there is no such store yet, and so no key", path);
        cmd_fail("keys", &none); /* said, but no failure: nothing is what was asked for */
    }
    bool ok = v->run(s, e);
    store_close(s->store);
    return ok;
}

static int run_line(struct keys *s, const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "keys",
        .synopsis = "add [OPTION]...\nlist\nshow ID\nlimit ID OPTION...\nrevoke ID\nrotate ID",
        .about = "Make, show and change the keys that puna serve asks for. add and rotate print a\n"
                 "secret, once: only its digest is kept. A server that runs counts a change\n"
                 "within a second. As soon as there is a key, all who ask need one.",
    };
    struct keys_change *c = &s->change;
    const char *store = NULL, *operands[2];
    const struct option_spec specs[] = {
        {OPTION_TEXT, "store", 0, NULL, "FILE", &store, 0, 0,
         "where the keys are kept (default: $PUNA_STORE, else\npuna/store.db in $XDG_DATA_HOME or "
         "~/.local/share)",
         NULL},
        {OPTION_FLAG, "json", 0, NULL, NULL, &s->json, 0, 0, "print JSON", NULL},
        {OPTION_HEADING, .help = "What a key may do (add, limit)"},
        {OPTION_TEXT, "name", 0, NULL, "TEXT", &c->name, 0, 0, "whose it is, or what for", NULL},
        {OPTION_CALLS, "scope", 0, NULL, "NAME", c, 0, 0,
         "chat, embeddings, tokenize; inference: these three\n(default); metrics; keys: makes "
         "ephemeral ones for what\nelse it may do; usage: reads what all keys used; all; may\nbe "
         "given many times",
         keys_add_scope},
        {OPTION_TEXT, "expires", 0, NULL, "TIME", &c->expires, 0, 0,
         "counts no more after 90s, 15m, 12h, 30d, 2w ... from now\n(default: none)", NULL},
        {OPTION_CALLS, "model", 0, NULL, "NAME", c, 0, 0,
         "may ask this name of a model alone; may be given many\ntimes (default: none, which is "
         "all)",
         keys_add_model},
        {OPTION_CALLS, "origin", 0, NULL, "ORIGIN", c, 0, 0,
         "only for pages of this origin; may be given many times\n(default: none, which is any)",
         keys_add_origin},
        {OPTION_TEXT, "rpm", 0, NULL, "N", &c->rpm, 0, 0, "requests a minute (default: none)",
         NULL},
        {OPTION_TEXT, "tpm", 0, NULL, "N", &c->tpm, 0, 0,
         "tokens a minute, of prompts and answers (default: none)", NULL},
        {OPTION_TEXT, "tokens-per-day", 0, NULL, "N", &c->day, 0, 0,
         "the same a day, which begins at midnight in UTC (default:\nnone)", NULL},
        {OPTION_TEXT, "tokens-per-month", 0, NULL, "N", &c->month, 0, 0,
         "the same a month of UTC (default: none)", NULL},
        {OPTION_TEXT, "concurrent", 0, NULL, "N", &c->concurrent, 0, 0,
         "requests at once (default: none)", NULL},
        {OPTION_TEXT, "priority", 0, NULL, "CLASS", &c->priority, 0, 0,
         "high, normal or low: whose requests go first (default:\nnormal)", NULL},
        {OPTION_HEADING, .help = "A new secret (rotate)"},
        {OPTION_TEXT, "grace", 0, NULL, "TIME", &c->grace, 0, 0,
         "the old one still counts for so long (default: not at all)", NULL},
    };
    struct error e = {0};
    if (!check_words(argc, argv, &e)) {
        return cmd_fail("keys", &e);
    }
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, operands, 2);
    char *path = NULL;
    s->id = operands[1];
    const struct verb *v = find_verb(operands[0], &e);
    bool ok = v != NULL && check_verb(s, v, &e) && cmd_find_store(env, store, &path, &e) &&
              run(s, v, path, &e);
    mem_free(path);
    return ok ? cmd_finish_output("keys", 0) : cmd_fail("keys", &e);
}

int cmd_keys(const struct cmd_env *env, int argc, char **argv)
{
    struct keys s = {0};
    int code = run_line(&s, env, argc, argv);
    buf_finish(&s.change.models);
    buf_finish(&s.change.origins);
    return code;
}
