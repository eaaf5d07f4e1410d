/* auth_minutes.c - keys that a key makes for a page in a browser: short, and good for little. They
 * are in this memory alone, so the end of the server is theirs. */
#include "serve/auth_internal.h"

#include "base/mem.h"
#include "serve/api_request.h"
#include "serve/http_cors.h"

_Static_assert((int)API_MAX_KEY_SECONDS == AUTH_MAX_LIFE_S &&
                   (int)API_MAX_ORIGIN_CHARS == STORE_MAX_ITEM_CHARS &&
                   (int)API_MAX_ORIGIN_CHARS == HTTP_CORS_ORIGIN_BYTES - 1,
               "requests may ask for what keys can have");

/* Those that nobody can use any more, nor uses. */
static void sweep(struct auth *a, int64_t now_s)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_minutes; i++) {
        struct auth_key *k = a->minutes[i];
        if (k->row.expires > now_s || k->n_callers > 0) {
            a->minutes[n++] = k;
        } else {
            k->parent->n_children--;
            auth_key_destroy(k);
        }
    }
    a->n_minutes = n;
}

static bool check_room(const struct auth *a, const struct auth_key *parent, struct api_error *error)
{
    bool is_own = parent->n_children >= AUTH_MAX_CHILDREN;
    if (!is_own && a->n_minutes < AUTH_MAX_MINUTES) {
        return true;
    }
    api_error_set(error, API_ERROR_RATE_LIMIT, NULL, "%s has %d ephemeral keys, the most that may",
                  is_own ? "the key" : "the server", is_own ? AUTH_MAX_CHILDREN : AUTH_MAX_MINUTES);
    return auth_refuse_for(error, AUTH_MAX_LIFE_S);
}

/* A list of one line. */
static bool set_item(char **list, struct str item, struct error *e)
{
    char *line = mem_alloc(item.n + 2, 1, "line of a key", e);
    if (line == NULL) {
        return false;
    }
    memcpy(line, item.p, item.n);
    line[item.n] = '\n';
    *list = line;
    return true;
}

static bool fill_in(struct auth_key *k, struct str origin, struct str model,
                    char secret[SECRET_BYTES], struct error *e)
{
    return set_item(&k->row.origins, origin, e) && set_item(&k->row.models, model, e) &&
           secret_make_id(k->row.id, e) && secret_make(SECRET_OF_MINUTES, k->row.id, secret, e) &&
           (secret_digest(str_from(secret), &k->row.hash) ||
            error_set(e, ERROR_MEMORY, "no memory for a digest"));
}

int64_t auth_offer_end(const struct auth_caller *c, const struct auth_offer *offer, int64_t now_s)
{
    int64_t end_s = now_s + offer->life_s;
    return c->key->row.expires < end_s ? c->key->row.expires : end_s;
}

bool auth_offer(struct auth_caller *c, const struct auth_offer *offer, int64_t now_s,
                char out_id[SECRET_ID_BYTES], char out_secret[SECRET_BYTES],
                struct api_error *error)
{
    struct auth *a = c->auth;
    struct auth_key *parent = c->key;
    struct error e = {0};
    char origin[HTTP_CORS_ORIGIN_BYTES];
    http_cors_write_origin(offer->origin, origin);
    sweep(a, now_s);
    if (!check_room(a, parent, error) || !auth_check_model(c, offer->model, error) ||
        !auth_check_origin(parent, str_from(origin), error)) {
        return false;
    }
    if ((parent->row.scopes & STORE_SCOPE_INFERENCE) == 0) {
        return auth_check_scope(parent, STORE_SCOPE_CHAT, error);
    }
    struct auth_key *k = mem_alloc(1, sizeof *k, "ephemeral key", &e);
    if (k == NULL) {
        return api_error_from(error, &e, NULL);
    }
    store_key_init(&k->row);
    k->row.scopes = parent->row.scopes & STORE_SCOPE_INFERENCE;
    k->row.created = now_s;
    k->row.expires = auth_offer_end(c, offer, now_s) + 1; /* now_s is cut: no less than asked for */
    k->parent = parent;
    k->max_tokens = offer->max_tokens;
    k->n_budget = offer->n_budget;
    if (!fill_in(k, str_from(origin), offer->model, out_secret, &e)) {
        auth_key_destroy(k);
        return api_error_from(error, &e, NULL);
    }
    parent->n_children++;
    a->minutes[a->n_minutes++] = k;
    memcpy(out_id, k->row.id, SECRET_ID_BYTES);
    return true;
}
