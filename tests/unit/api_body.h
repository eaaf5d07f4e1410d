/* api_body.h - the smallest good body of every endpoint, with members added or replaced. */
#ifndef TESTS_API_BODY_H
#define TESTS_API_BODY_H

#include "serve/api_request.h"

#include <stdio.h>

struct api_body_member {
    const char *name, *json;
};

/* What the endpoint requires. */
static inline const struct api_body_member *api_body_members(enum api_endpoint endpoint)
{
    static const struct api_body_member members[API_ENDPOINT_COUNT][5] = {
        [API_CHAT] = {{"model", "\"m\""}, {"messages", "[{\"role\":\"user\",\"content\":\"a\"}]"}},
        [API_COMPLETION] = {{"model", "\"m\""}, {"prompt", "\"a\""}},
        [API_EMBEDDING] = {{"model", "\"m\""}, {"input", "\"a\""}},
        [API_TOKENIZE] = {{"content", "\"a\""}},
        [API_DETOKENIZE] = {{"tokens", "[1]"}},
        [API_APPLY_TEMPLATE] = {{"messages", "[{\"role\":\"user\",\"content\":\"a\"}]"}},
        [API_EPHEMERAL_KEY] = {{"model", "\"m\""},
                               {"origin", "\"https://a.example\""},
                               {"max_tokens", "1"},
                               {"budget_tokens", "1"}},
    };
    return members[endpoint];
}

static inline bool api_body_has(enum api_endpoint endpoint, const char *name)
{
    const struct api_body_member *m = api_body_members(endpoint);
    while (m->name != NULL && strcmp(m->name, name) != 0) {
        m++;
    }
    return m->name != NULL;
}

/* `member` is "\"name\":value[,...]" or "", and takes the place of one that is required. */
static inline void api_body(char *out, size_t n_bytes, enum api_endpoint endpoint,
                            const char *member)
{
    size_t n = (size_t)snprintf(out, n_bytes, "{");
    for (const struct api_body_member *m = api_body_members(endpoint); m->name != NULL; m++) {
        char start[64];
        snprintf(start, sizeof start, "\"%s\":", m->name);
        if (strncmp(member, start, strlen(start)) != 0) {
            n += (size_t)snprintf(out + n, n_bytes - n, "%s%s%s", n > 1 ? "," : "", start, m->json);
        }
    }
    snprintf(out + n, n_bytes - n, "%s%s}", n > 1 && member[0] != '\0' ? "," : "", member);
}

#endif
