/* fuzz_auth.c - requests with keys, one after the other, against the keys of a real store. The
 * input is a script, a line each (see play()); headers are any bytes, and who they let in is worked
 * out again here, plainly: a key's own secret, in time, for what it may, at its rate. No error
 * tells a secret. */
#include "serve/auth.h"

#include "scratch.h"

#include <ctype.h>

#define SECOND 1000000000u

enum { N_KEYS = 5, MOST_CALLERS = 16, MOST_MINUTES = 32, MOST_LINES = 200, START_S = 1000000 };

/* A key, of the store or of minutes, as this file sees it. */
struct known {
    char secret[SECRET_BYTES], old_secret[SECRET_BYTES];
    struct store_key row; /* its limits; texts are constants */
    const char *origins, *models;
    int parent; /* -1: of the store */
    int64_t must_end_s;
    uint64_t n_entered, n_budget;
    uint32_t n_running;
};

struct caller {
    struct auth_caller *c;
    int key;
    bool counts;
    uint64_t n_reserved;
};

struct world {
    char path[SCRATCH_PATH_BYTES];
    bool is_fresh; /* the store: no script has written to it */
    struct auth *auth;
    struct known keys[N_KEYS + MOST_MINUTES];
    int n_keys;
    struct caller callers[MOST_CALLERS];
    int64_t now_s;
    uint64_t now_ns;
};

/* --- the store */

static void make_secret(struct known *k, char digit)
{
    char id[SECRET_ID_BYTES] = "";
    memset(id, digit, SECRET_ID_DIGITS);
    memcpy(k->row.id, id, sizeof id);
    snprintf(k->secret, sizeof k->secret, "sk-puna-%s-", id);
    memcpy(k->old_secret, k->secret, sizeof k->secret);
    memset(k->secret + strlen(k->secret), 'a', SECRET_RANDOM_DIGITS);
    memset(k->old_secret + strlen(k->old_secret), 'b', SECRET_RANDOM_DIGITS);
    require(secret_digest(str_from(k->secret), &k->row.hash));
    require(secret_digest(str_from(k->old_secret), &k->row.old_hash));
}

static void set_limits(struct known *keys)
{
    keys[1].row.scopes = STORE_SCOPE_INFERENCE;
    keys[1].row.requests_per_minute = 3;
    keys[1].row.tokens_per_minute = 1000;
    keys[1].row.concurrent = 2;
    keys[2].row.scopes = STORE_SCOPE_METRICS | STORE_SCOPE_KEYS;
    keys[2].row.expires = START_S + 100;
    keys[3].origins = "https://a.example\nhttps://b.example\n";
    keys[3].models = "m\nanother\n";
    keys[4].row.old_until = START_S + 50;
    keys[4].row.priority = STORE_PRIORITY_LOW;
}

static struct store *open_store(const struct world *w)
{
    struct store *s = store_open(
        &(struct store_options){.schema = &store_keys_schema, .path = w->path, .creates = true},
        NULL);
    require(s != NULL);
    return s;
}

static void reload(struct world *w)
{
    require(auth_reload(w->auth, true, 0, w->now_ns, NULL));
}

static void fill_store(const struct world *w)
{
    struct store *s = open_store(w);
    for (int i = 0; i < N_KEYS; i++) {
        struct store_key row = w->keys[i].row;
        require(store_key_set_text(&row.name, STR("n"), NULL) &&
                store_key_set_text(&row.models, str_from(w->keys[i].models), NULL) &&
                store_key_set_text(&row.origins, str_from(w->keys[i].origins), NULL));
        require(store_key_add(s, &row, NULL));
        store_key_finish(&row);
    }
    store_close(s);
}

/* The file is made again only when a script has changed it. */
static void open_world(struct world *w)
{
    bool is_fresh = w->is_fresh;
    *w = (struct world){
        .now_s = START_S, .now_ns = START_S * (uint64_t)SECOND, .n_keys = N_KEYS, .is_fresh = true};
    scratch_name("auth", w->path);
    for (int i = 0; i < N_KEYS; i++) {
        struct known *k = &w->keys[i];
        store_key_init(&k->row);
        k->models = k->origins = "";
        k->parent = -1;
        make_secret(k, (char)('0' + i));
    }
    set_limits(w->keys);
    if (!is_fresh) {
        scratch_remove(w->path);
        fill_store(w);
    }
    w->auth = auth_create(w->path, NULL);
    require(w->auth != NULL);
    reload(w);
}

/* --- what is expected */

static const struct known *owner_of(const struct world *w, const struct known *k)
{
    return k->parent >= 0 ? &w->keys[k->parent] : k;
}

static bool is_in_time(const struct world *w, const struct known *k)
{
    return k->row.revoked == STORE_NEVER && k->row.expires > w->now_s;
}

/* The key whose secret is all that the header has behind "Bearer", or -1. */
static int key_of(const struct world *w, struct str header)
{
    size_t n = 6;
    if (header.n <= n || strncasecmp(header.p, "bearer", n) != 0 || header.p[n] != ' ') {
        return -1;
    }
    while (n < header.n && header.p[n] == ' ') {
        n++;
    }
    struct str token = str_skip(header, n);
    for (int i = 0; i < w->n_keys; i++) {
        const struct known *k = &w->keys[i];
        bool is_old = w->now_s < k->row.old_until && str_eq(token, str_from(k->old_secret));
        if (str_eq(token, str_from(k->secret)) || is_old) {
            return i;
        }
    }
    return -1;
}

static bool may_enter(const struct world *w, const struct known *k, const struct auth_request *r)
{
    const struct known *owner = owner_of(w, k);
    return is_in_time(w, k) && is_in_time(w, owner) && (r->scope & ~k->row.scopes) == 0 &&
           (r->scope & ~owner->row.scopes) == 0 &&
           (k->origins[0] == '\0' || store_has_item(k->origins, r->origin)) &&
           (owner->origins[0] == '\0' || store_has_item(owner->origins, r->origin));
}

/* What a minute brings, and all that it has brought since. */
static bool is_within(const struct world *w, uint64_t n, uint32_t per_minute)
{
    double minutes = (double)(w->now_ns - START_S * (uint64_t)SECOND) / (60.0 * SECOND);
    return per_minute == STORE_NO_LIMIT || (double)n <= per_minute * (1.0 + minutes) + 1e-3;
}

static void check_error(const struct world *w, const struct api_error *error)
{
    int status = api_error_meaning(error->kind)->http_status;
    require(status == 401 || status == 403 || status == 429);
    require(error->message[0] != '\0');
    for (int i = 0; i < w->n_keys; i++) {
        const char *random = w->keys[i].secret + SECRET_CHARS - SECRET_RANDOM_DIGITS;
        require(strstr(error->message, random) == NULL);
    }
}

/* --- steps of a script */

/* Bytes 1..7 stand for secrets: of the keys of the store, the old one of the last, and of the
 * newest key of minutes. */
static size_t fill_in(const struct world *w, struct str text, char *out, size_t capacity)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        const char *secret = c == N_KEYS + 1 ? w->keys[N_KEYS - 1].old_secret
                             : c == N_KEYS + 2 && w->n_keys > N_KEYS ? w->keys[w->n_keys - 1].secret
                             : c >= 1 && c <= N_KEYS                 ? w->keys[c - 1].secret
                                                                     : NULL;
        struct str piece = secret != NULL ? str_from(secret) : (struct str){text.p + i, 1};
        if (n + piece.n <= capacity) {
            memcpy(out + n, piece.p, piece.n);
            n += piece.n;
        }
    }
    return n;
}

static void leave(struct world *w, struct caller *at, uint64_t n_used)
{
    struct known *owner = &w->keys[at->key];
    owner = owner->parent >= 0 ? &w->keys[owner->parent] : owner;
    owner->n_running -= at->counts;
    auth_leave(at->c, n_used < at->n_reserved ? n_used : at->n_reserved, w->now_s, w->now_ns);
    at->c = NULL;
}

static void note_field(void *to, const char *name, const char *value)
{
    (void)to;
    require(strncmp(name, "x-ratelimit-", 12) == 0 && value[0] >= '0' && value[0] <= '9');
}

static void enter(struct world *w, struct caller *at, const struct auth_request *r)
{
    struct api_error error = {0};
    int key = key_of(w, r->authorization);
    struct auth_caller *c;
    bool ok = auth_enter(w->auth, r, &c, &error);
    if (!ok) {
        check_error(w, &error);
        if (c != NULL) {
            require(key >= 0 && strcmp(auth_id(c), w->keys[key].row.id) == 0);
            auth_list_limits(c, w->now_ns, note_field, NULL);
            auth_leave(c, 0, w->now_s, w->now_ns);
        }
        return;
    }
    require(key >= 0 && may_enter(w, &w->keys[key], r));
    struct known *owner = &w->keys[w->keys[key].parent >= 0 ? w->keys[key].parent : key];
    *at = (struct caller){c, key, (r->scope & STORE_SCOPE_INFERENCE) != 0, 0};
    owner->n_running += at->counts;
    owner->n_entered += at->counts;
    require(strcmp(auth_id(c), w->keys[key].row.id) == 0 && auth_owner(c) > 0);
    require(owner->n_running <= owner->row.concurrent);
    require(is_within(w, owner->n_entered, owner->row.requests_per_minute));
    auth_list_limits(c, w->now_ns, note_field, NULL);
}

/* "HEADER" or "HEADER\tORIGIN" */
static void try_to_enter(struct world *w, struct caller *at, unsigned scope, struct str rest)
{
    char header[1024];
    const char *tab = rest.n > 0 ? memchr(rest.p, '\t', rest.n) : NULL;
    struct str given = {rest.p, tab != NULL ? (size_t)(tab - rest.p) : rest.n};
    struct auth_request r = {.scope = scope, .now_s = w->now_s, .now_ns = w->now_ns};
    r.authorization = (struct str){header, fill_in(w, given, header, sizeof header)};
    r.has_other_key = given.n == 0;
    if (given.n == 0) {
        r.authorization.p = NULL;
    }
    if (tab != NULL) {
        r.origin = str_skip(rest, given.n + 1);
    }
    if (at->c == NULL) {
        enter(w, at, &r);
    }
}

static uint64_t next_number(struct str *rest)
{
    uint64_t n = 0;
    while (rest->n > 0 && !isdigit((unsigned char)rest->p[0])) {
        *rest = str_skip(*rest, 1);
    }
    while (rest->n > 0 && isdigit((unsigned char)rest->p[0])) {
        n = (n * 10 + (uint64_t)(rest->p[0] - '0')) % ((uint64_t)1 << 40);
        *rest = str_skip(*rest, 1);
    }
    return n;
}

/* "PROMPT CHOICES MAX", with '?' in front where the request does not say the last */
static void reserve(struct world *w, struct caller *at, struct str rest)
{
    struct api_error error = {0};
    struct known *k = &w->keys[at->key];
    struct auth_work work = {.is_open = rest.n > 0 && rest.p[0] == '?'};
    work.n_prompt = next_number(&rest);
    work.n_choices = 1 + next_number(&rest) % 128;
    work.max_tokens = (uint32_t)(1 + next_number(&rest) % 100000);
    uint32_t asked = work.max_tokens;
    if (at->n_reserved > 0) {
        return; /* once a caller */
    }
    if (!auth_reserve(at->c, &work, w->now_s, w->now_ns, &error)) {
        check_error(w, &error);
        return;
    }
    require(work.max_tokens <= asked && (work.is_open || work.max_tokens == asked));
    at->n_reserved = work.n_prompt + work.n_choices * work.max_tokens;
    uint32_t limit = owner_of(w, k)->row.tokens_per_minute;
    require(limit == STORE_NO_LIMIT || at->n_reserved <= limit);
    if (k->parent >= 0) {
        require(at->n_reserved <= k->n_budget);
    }
}

/* "MAX BUDGET LIFE MODEL\tORIGIN" */
static void offer(struct world *w, struct caller *at, struct str rest)
{
    struct api_error error = {0};
    struct auth_offer o = {.max_tokens = (uint32_t)(1 + next_number(&rest) % 1000)};
    o.n_budget = 1 + next_number(&rest);
    o.life_s = (uint32_t)(1 + next_number(&rest) % AUTH_MAX_LIFE_S);
    rest = rest.n > 0 ? str_skip(rest, 1) : rest;
    const char *tab = rest.n > 0 ? memchr(rest.p, '\t', rest.n) : NULL;
    o.model = (struct str){rest.p, tab != NULL ? (size_t)(tab - rest.p) : rest.n};
    o.origin = tab != NULL ? str_skip(rest, o.model.n + 1) : STR("https://a.example");
    if (w->n_keys == N_KEYS + MOST_MINUTES || w->keys[at->key].parent >= 0 || o.model.n == 0 ||
        o.origin.n == 0 || memchr(o.origin.p, '\0', o.origin.n) != NULL ||
        memchr(o.model.p, '\0', o.model.n) != NULL) {
        return; /* what the parser of such requests refuses */
    }
    struct known *k = &w->keys[w->n_keys];
    *k = (struct known){.parent = at->key, .origins = "", .models = "", .n_budget = o.n_budget};
    store_key_init(&k->row);
    k->row.scopes = STORE_SCOPE_INFERENCE;
    if (!auth_offer(at->c, &o, w->now_s, k->row.id, k->secret, &error)) {
        check_error(w, &error);
        return;
    }
    const struct known *parent = &w->keys[at->key];
    require(parent->models[0] == '\0' || store_has_item(parent->models, o.model));
    require(parent->origins[0] == '\0' || store_has_item(parent->origins, o.origin));
    require((parent->row.scopes & STORE_SCOPE_INFERENCE) != 0);
    k->row.expires = w->now_s + o.life_s + 1;
    w->n_keys++;
}

static void revoke_key(struct world *w, int i)
{
    struct store_key k;
    struct store *s = open_store(w);
    require(store_key_get(s, w->keys[i].row.id, &k, NULL));
    k.revoked = w->now_s;
    require(store_key_update(s, &k, NULL));
    store_key_finish(&k);
    store_close(s);
    w->is_fresh = false;
    w->keys[i].row.revoked = w->now_s;
    reload(w);
}

static void pass_time(struct world *w, uint64_t seconds)
{
    w->now_s += (int64_t)(seconds % 1000);
    w->now_ns += seconds % 1000 * SECOND;
}

/* A letter, a digit that says which caller, key or scope, and the rest of the line. */
static void play(struct world *w, struct str line)
{
    static const unsigned scopes[] = {0,
                                      STORE_SCOPE_CHAT,
                                      STORE_SCOPE_EMBEDDINGS,
                                      STORE_SCOPE_TOKENIZE,
                                      STORE_SCOPE_METRICS,
                                      STORE_SCOPE_KEYS};
    struct api_error error = {0};
    if (line.n < 2) {
        return;
    }
    unsigned digit = (unsigned char)line.p[1];
    struct caller *at = &w->callers[digit % MOST_CALLERS];
    struct str rest = str_skip(line, 2);
    if (line.p[0] >= '0' && line.p[0] <= '5') {
        try_to_enter(w, at, scopes[line.p[0] - '0'], rest);
    } else if (line.p[0] == 'x') {
        revoke_key(w, (int)(digit % N_KEYS));
    } else if (line.p[0] == 't') {
        pass_time(w, next_number(&rest));
    } else if (at->c == NULL) {
        return;
    } else if (line.p[0] == 'l') {
        leave(w, at, next_number(&rest));
    } else if (line.p[0] == 'r') {
        reserve(w, at, rest);
    } else if (line.p[0] == 'k') {
        offer(w, at, rest);
    } else if (line.p[0] == 'm' && !auth_check_model(at->c, rest, &error)) {
        check_error(w, &error);
    }
}

static struct world world;

static void remove_store(void)
{
    scratch_remove(world.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct str rest = {(const char *)data, n_bytes};
    if (world.path[0] == '\0') {
        require(atexit(remove_store) == 0);
    }
    open_world(&world);
    for (int i = 0; i < MOST_LINES && rest.n > 0; i++) {
        const char *end = memchr(rest.p, '\n', rest.n);
        struct str line = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
        rest = str_skip(rest, end != NULL ? line.n + 1 : line.n);
        play(&world, line);
    }
    for (int i = 0; i < MOST_CALLERS; i++) {
        if (world.callers[i].c != NULL) {
            leave(&world, &world.callers[i], 0);
        }
    }
    auth_destroy(world.auth);
    return 0;
}
