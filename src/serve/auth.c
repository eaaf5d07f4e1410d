/* auth.c - letting requests in, and counting what they take. */
#include "serve/auth.h"

#include "base/mem.h"
#include "serve/auth_internal.h"
#include "serve/estimate.h"
#include "serve/http_head.h"

#include <math.h>
#include <stdio.h>

/* An answer whose length the request leaves open begins with room for so many tokens, or not. */
enum { LEAST_ANSWER = 64 };

/* Between them there is room for what requests ask of their own. */
static const int32_t priorities[] = {
    [STORE_PRIORITY_HIGH] = -100, [STORE_PRIORITY_NORMAL] = 0, [STORE_PRIORITY_LOW] = 100};

/* --- whose key it is */

bool auth_read_bearer(struct str value, struct str *out_token)
{
    static const struct str scheme = {"bearer", 6};
    if (value.n <= scheme.n || !http_str_eq_nocase((struct str){value.p, scheme.n}, scheme) ||
        value.p[scheme.n] != ' ') {
        return false;
    }
    struct str token = str_skip(value, scheme.n);
    while (token.n > 0 && token.p[0] == ' ') {
        token = str_skip(token, 1);
    }
    *out_token = token;
    return token.n > 0 && memchr(token.p, ' ', token.n) == NULL;
}

static bool refuse(struct api_error *error, const char *why)
{
    return api_error_set(error, API_ERROR_KEY, NULL, "%s", why);
}

/* Only who has the secret is told more of the key than that this is none. */
static bool check_secret(const struct auth_key *k, struct str token, int64_t now_s,
                         struct api_error *error)
{
    static const struct auth_key nobody;
    const struct store_key *row = &(k != NULL ? k : &nobody)->row;
    struct secret_hash hash;
    if (!secret_digest(token, &hash)) {
        return api_error_set(error, API_ERROR_OVERLOADED, NULL, "no memory to check the API key");
    }
    bool is_new = secret_hash_eq(&hash, &row->hash);
    bool is_old = secret_hash_eq(&hash, &row->old_hash) && now_s < row->old_until;
    return (k != NULL && !k->is_gone && (is_new || is_old)) ||
           refuse(error, "Incorrect API key provided: this server does not know it");
}

static bool check_times(const struct auth_key *k, int64_t now_s, struct api_error *error)
{
    if (k->is_gone || k->row.revoked != STORE_NEVER) {
        return refuse(error, "Incorrect API key provided: it was revoked");
    }
    return k->row.expires > now_s || refuse(error, "Incorrect API key provided: it has expired");
}

static struct auth_key *identify(const struct auth *a, const struct auth_request *r,
                                 struct api_error *error)
{
    struct str token;
    enum secret_kind kind;
    char id[SECRET_ID_BYTES];
    if (r->authorization.p == NULL) {
        refuse(error, r->has_other_key
                          ? "No API key was provided in an Authorization header, the only one that "
                            "this server reads keys from: Authorization: Bearer YOUR_KEY"
                          : "No API key was provided: send it as Authorization: Bearer YOUR_KEY");
        return NULL;
    }
    if (!auth_read_bearer(r->authorization, &token)) {
        refuse(error, "The Authorization header is not of the form: Bearer YOUR_KEY");
        return NULL;
    }
    struct auth_key *k = secret_read(token, &kind, id) ? auth_find(a, kind, id) : NULL;
    if (!check_secret(k, token, r->now_s, error) || !check_times(k, r->now_s, error) ||
        !check_times(auth_owner_of(k), r->now_s, error)) {
        return NULL;
    }
    return k;
}

/* --- what it may */

bool auth_check_scope(const struct auth_key *k, unsigned scope, struct api_error *error)
{
    unsigned bits, missing = scope & ~k->row.scopes;
    const char *name = "";
    for (size_t i = 0; missing != 0 && (name = store_scope_name(i, &bits)) != NULL; i++) {
        if ((bits & missing) != 0) {
            return api_error_set(error, API_ERROR_SCOPE, NULL,
                                 "You have insufficient permissions for this operation: key %s has "
                                 "no scope '%s'",
                                 k->row.id, name);
        }
    }
    return true;
}

bool auth_check_origin(const struct auth_key *k, struct str origin, struct api_error *error)
{
    if (k->row.origins[0] == '\0' || store_has_item(k->row.origins, origin)) {
        return true;
    }
    return api_error_set(error, API_ERROR_ORIGIN, NULL,
                         origin.p != NULL ? "key %s is not for pages of this origin"
                                          : "key %s is for pages of certain origins, and the "
                                            "request has no Origin header",
                         k->row.id);
}

static bool may_use(const struct auth_key *k, struct str model)
{
    return k->row.models[0] == '\0' || store_has_item(k->row.models, model);
}

bool auth_check_model(const struct auth_caller *c, struct str name, struct api_error *error)
{
    enum { SHOWN = 200 };
    if (may_use(c->key, name) && may_use(auth_owner_of(c->key), name)) {
        return true;
    }
    name.n = str_complete_utf8((struct str){name.p, name.n < SHOWN ? name.n : SHOWN});
    return api_error_set(error, API_ERROR_MODEL_FORBIDDEN, "model",
                         "key %s does not have access to model '%.*s'", c->key->row.id,
                         STR_ARG(name));
}

int32_t auth_priority(const struct auth_caller *c)
{
    return priorities[auth_owner_of(c->key)->row.priority];
}

uint32_t auth_max_tokens(const struct auth_caller *c)
{
    return c->key->parent != NULL ? c->key->max_tokens : UINT32_MAX;
}

uint64_t auth_owner(const struct auth_caller *c)
{
    return auth_owner_of(c->key)->number;
}

const char *auth_id(const struct auth_caller *c)
{
    return c->key->row.id;
}

const char *auth_owner_id(const struct auth_caller *c)
{
    return auth_owner_of(c->key)->row.id;
}

const char *auth_minutes_id(const struct auth_caller *c)
{
    return c->key->parent != NULL ? c->key->row.id : NULL;
}

/* --- how much of it */

bool auth_refuse_for(struct api_error *error, double wait_s)
{
    error->retry_s =
        (uint32_t)fmax(ESTIMATE_LEAST_RETRY_S, fmin(ceil(wait_s), ESTIMATE_MOST_RETRY_S));
    return false;
}

static bool check_running(const struct auth_key *k, struct api_error *error)
{
    if (k->n_running < k->row.concurrent) {
        return true;
    }
    api_error_set(error, API_ERROR_RATE_LIMIT, NULL,
                  "Rate limit reached for key %s on requests at once: limit %u", k->row.id,
                  k->row.concurrent);
    return auth_refuse_for(error, 0.0);
}

static bool take_request(struct auth_key *k, uint64_t now_ns, struct api_error *error)
{
    char again[RATE_TIME_BYTES];
    if (rate_take(&k->requests, 1, now_ns)) {
        return true;
    }
    double wait_s = rate_wait_s(&k->requests, 1, now_ns);
    rate_print_time(wait_s, again);
    api_error_set(
        error, API_ERROR_RATE_LIMIT, NULL,
        "Rate limit reached for key %s on requests per minute: limit %u. Please try again "
        "in %s.",
        k->row.id, k->row.requests_per_minute, again);
    return auth_refuse_for(error, wait_s);
}

bool auth_enter(struct auth *a, const struct auth_request *r, struct auth_caller **out,
                struct api_error *error)
{
    *out = NULL;
    struct auth_key *k = identify(a, r, error);
    if (k == NULL) {
        return false;
    }
    struct auth_caller *c = mem_alloc(1, sizeof *c, "caller", NULL);
    if (c == NULL) {
        return api_error_set(error, API_ERROR_OVERLOADED, NULL, "no memory for another request");
    }
    *c = (struct auth_caller){.auth = a, .key = k};
    *out = c;
    k->n_callers++;
    struct auth_key *owner = auth_owner_of(k);
    bool counts = (r->scope & STORE_SCOPE_INFERENCE) != 0;
    if (!auth_check_scope(k, r->scope, error) || !auth_check_scope(owner, r->scope, error) ||
        !auth_check_origin(k, r->origin, error) || !auth_check_origin(owner, r->origin, error) ||
        (counts && (!check_running(owner, error) || !take_request(owner, r->now_ns, error)))) {
        return false;
    }
    c->counts = counts;
    owner->n_running += counts;
    return true;
}

void auth_hang_up(struct auth_caller *c)
{
    auth_owner_of(c->key)->n_running -= c->counts;
    c->counts = false;
}

void auth_leave(struct auth_caller *c, uint64_t n_used, int64_t now_s, uint64_t now_ns)
{
    struct auth_key *k = c->key, *owner = auth_owner_of(k);
    uint64_t n_unused = n_used < c->n_reserved ? c->n_reserved - n_used : 0;
    rate_give_back(&owner->tokens, n_unused, now_ns);
    for (struct auth_key *each = k; each != NULL; each = each->parent) {
        auth_budget_use(each, n_used, now_s);
        each->n_reserved -= c->n_reserved;
    }
    auth_hang_up(c);
    k->n_callers--;
    mem_free(c);
}

/* --- tokens */

static uint64_t needed(const struct auth_work *w, uint32_t max_tokens)
{
    return w->n_prompt + w->n_choices * max_tokens;
}

static bool refuse_tokens(struct auth_key *k, uint64_t n, uint64_t now_ns, struct api_error *error)
{
    char again[RATE_TIME_BYTES];
    uint32_t limit = k->row.tokens_per_minute;
    if (n > limit) {
        api_error_set(
            error, API_ERROR_RATE_LIMIT, NULL,
            "Request too large for key %s on tokens per minute: limit %u, requested %llu. "
            "The input or output tokens must be reduced.",
            k->row.id, limit, (unsigned long long)n);
        error->is_final = true;
        return false;
    }
    double wait_s = rate_wait_s(&k->tokens, n, now_ns);
    rate_print_time(wait_s, again);
    api_error_set(error, API_ERROR_RATE_LIMIT, NULL,
                  "Rate limit reached for key %s on tokens per minute: limit %u, left %llu, "
                  "requested %llu. Please try again in %s.",
                  k->row.id, limit, (unsigned long long)rate_left(&k->tokens, now_ns),
                  (unsigned long long)n, again);
    return auth_refuse_for(error, wait_s);
}

/* Most that each answer may have of n tokens; at least what is worth to begin with. */
static void fit_open(struct auth_work *w, uint64_t n)
{
    uint64_t each = n > w->n_prompt ? (n - w->n_prompt) / w->n_choices : 0;
    uint32_t least = w->max_tokens < LEAST_ANSWER ? w->max_tokens : LEAST_ANSWER;
    if (each < w->max_tokens) {
        w->max_tokens = each > least ? (uint32_t)each : least;
    }
}

bool auth_reserve(struct auth_caller *c, struct auth_work *w, int64_t now_s, uint64_t now_ns,
                  struct api_error *error)
{
    struct auth_key *k = c->key, *owner = auth_owner_of(k);
    if (w->is_open) {
        uint64_t of_minute = rate_left(&owner->tokens, now_ns);
        uint64_t of_budget = auth_budget_left(owner, now_s);
        fit_open(w, of_minute < of_budget ? of_minute : of_budget);
    }
    uint64_t n = needed(w, w->max_tokens);
    for (struct auth_key *each = k; each != NULL; each = each->parent) {
        if (!auth_budget_check(each, n, now_s, error)) {
            return false;
        }
    }
    if (!rate_take(&owner->tokens, n, now_ns)) {
        return refuse_tokens(owner, n, now_ns, error);
    }
    c->n_reserved = n;
    for (struct auth_key *each = k; each != NULL; each = each->parent) {
        each->n_reserved += n;
    }
    return true;
}

/* --- headers */

static void list_rate(struct rate *r, const char *what, uint64_t now_ns, auth_header_fn *add,
                      void *to)
{
    char name[48], value[RATE_TIME_BYTES];
    if (r->per_minute == RATE_NO_LIMIT) {
        return;
    }
    snprintf(name, sizeof name, "x-ratelimit-limit-%s", what);
    snprintf(value, sizeof value, "%u", r->per_minute);
    add(to, name, value);
    snprintf(name, sizeof name, "x-ratelimit-remaining-%s", what);
    snprintf(value, sizeof value, "%llu", (unsigned long long)rate_left(r, now_ns));
    add(to, name, value);
    snprintf(name, sizeof name, "x-ratelimit-reset-%s", what);
    rate_print_time(rate_wait_s(r, r->per_minute, now_ns), value);
    add(to, name, value);
}

void auth_list_limits(const struct auth_caller *c, uint64_t now_ns, auth_header_fn *add, void *to)
{
    struct auth_key *owner = auth_owner_of(c->key);
    list_rate(&owner->requests, "requests", now_ns, add, to);
    list_rate(&owner->tokens, "tokens", now_ns, add, to);
}
