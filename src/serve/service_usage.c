/* service_usage.c - names of answers, and the rows of the ledger that begin with them. */
#include "serve/service_internal.h"

#include "store/secret.h"

#include <stdio.h>
#include <time.h>

/* The time, so that rows which come together lie together, and 96 random bits: no other answer, of
 * any server, has that name. */
static bool make_id(const char *kind, char out[API_ID_BYTES], struct error *e)
{
    enum { DIGITS = 24 };
    char random[DIGITS + 1];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    unsigned long long ms = (unsigned long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!secret_make_digits(random, DIGITS, e)) {
        return false;
    }
    snprintf(out, API_ID_BYTES, "%s-%011llx%s", kind, ms, random);
    return true;
}

static bool is_counted(const struct service *s)
{
    return s->ledger != NULL && (s->counts_all || (s->auth != NULL && auth_is_on(s->auth)));
}

bool service_begin_row(const struct service *s, const struct http_exchange *x,
                       enum api_endpoint endpoint, char out_id[API_ID_BYTES],
                       struct ledger_entry **out, struct api_error *error)
{
    static const char *const names[] = {[API_CHAT] = "chat/completions",
                                        [API_COMPLETION] = "completions",
                                        [API_EMBEDDING] = "embeddings"};
    static const char *const kinds[] = {
        [API_CHAT] = "chatcmpl", [API_COMPLETION] = "cmpl", [API_EMBEDDING] = "embd"};
    const struct auth_caller *caller = http_caller(x);
    const char *minutes = caller != NULL ? auth_minutes_id(caller) : NULL;
    struct error e = {0};
    if (!make_id(kinds[endpoint], out_id, &e)) {
        return api_error_from(error, &e, NULL);
    }
    const struct store_use use = {.id = str_from(out_id),
                                  .key = str_from(caller != NULL ? auth_owner_id(caller) : ""),
                                  .minutes = str_from(minutes != NULL ? minutes : ""),
                                  .model = str_from(s->model.names[0]),
                                  .endpoint = str_from(names[endpoint])};
    *out = is_counted(s) ? ledger_begin(s->ledger, &use, error) : NULL;
    return *out != NULL || !is_counted(s);
}
