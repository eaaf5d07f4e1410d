/* score.c - `puna score`: log-probability of every token of a text, given those before it. */
#include "base/fmath.h"
#include "base/mem.h"
#include "cmd/ids.h"
#include "cmd/print.h"
#include "cmd/session.h"
#include "engine/engine.h"
#include "engine/logprobs.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUT_BYTES = 64 << 20, MAX_TOP = 100 };

/* A row of logits is kept for each token of a step, so it is smaller than for other commands. */
enum { DEFAULT_BATCH = 128 };

struct score_options {
    struct options_model model;
    bool ids, json, no_bos, special;
    uint32_t top;
    const char *logits_path;
};

/* What the model says of one token: entry 0 of a text has none before it and is not scored. */
struct scored {
    double logprob;
    struct logprob top[MAX_TOP]; /* options.top of them, best first */
};

struct score {
    struct session session;
    struct score_options options;
    struct token_list tokens;
    FILE *logits; /* f32 rows of all logits, NULL when not asked for */
    json_t *json; /* array of entries, NULL for text output */
    double sum;
    size_t n_scored;
};

/* A file may pad its matrices: ids from here on are rows that stand for no token. */
static uint32_t n_choices(const struct score *s)
{
    return tokenizer_info(s->session.tokenizer)->n_tokens;
}

static bool read_tokens(struct score *s, struct error *e)
{
    char *text = NULL;
    size_t n = 0;
    if (!cmd_read_stdin(MAX_INPUT_BYTES, &text, &n, e)) {
        return false;
    }
    bool ok;
    if (s->options.ids) {
        ok = ids_parse((struct str){text, n}, n_choices(s), &s->tokens, e);
    } else {
        unsigned flags = (s->options.no_bos ? 0 : TOKEN_ADD_BOS | TOKEN_ADD_EOS) |
                         (s->options.special ? TOKEN_PARSE_SPECIAL : 0);
        ok = tokenizer_encode(s->session.tokenizer, (struct str){text, n}, flags, &s->tokens, e);
    }
    mem_free(text);
    cmd_warn_dropped("score", s->tokens.n_dropped);
    if (ok && s->tokens.n < 2) {
        ok = error_set(e, ERROR_USAGE, "nothing to score: %zu tokens, at least 2 are needed",
                       s->tokens.n);
    }
    return ok;
}

static void print_piece(const struct score *s, uint32_t id)
{
    print_escaped(stdout, tokenizer_piece(s->session.tokenizer, id, true), SIZE_MAX);
    putchar('\n');
}

/* A piece may be half a code point: such bytes show as U+FFFD. */
static json_t *json_piece(const struct score *s, uint32_t id)
{
    return print_json_string(tokenizer_piece(s->session.tokenizer, id, true));
}

/* {"id", "piece", "logprob"}; NULL when memory runs out. */
static json_t *json_entry(const struct score *s, uint32_t id, json_t *logprob)
{
    return json_pack("{s:i,s:o,s:o}", "id", (int)id, "piece", json_piece(s, id), "logprob",
                     logprob);
}

static json_t *json_top(const struct score *s, const struct scored *t)
{
    json_t *top = json_array();
    for (uint32_t i = 0; top != NULL && i < s->options.top; i++) {
        if (json_array_append_new(top,
                                  json_entry(s, t->top[i].token, json_real(t->top[i].logprob)))) {
            json_decref(top);
            return NULL;
        }
    }
    return top;
}

static bool emit_json(struct score *s, size_t index, const struct scored *t, struct error *e)
{
    json_t *logprob = index > 0 ? json_real(t->logprob) : json_null();
    json_t *entry = json_entry(s, s->tokens.ids[index], logprob);
    bool failed =
        json_array_append(s->json, entry) != 0 ||
        (s->options.top > 0 && index > 0 && json_object_set_new(entry, "top", json_top(s, t)) != 0);
    json_decref(entry);
    return !failed || error_set(e, ERROR_MEMORY, "out of memory: %zu scored tokens", index);
}

static void emit_text(const struct score *s, size_t index, const struct scored *t)
{
    uint32_t id = s->tokens.ids[index];
    if (index == 0) {
        printf("%10s", "-");
    } else {
        printf("%10.5f", t->logprob);
    }
    printf("  %6u  ", id);
    print_piece(s, id);
    for (uint32_t i = 0; index > 0 && i < s->options.top; i++) {
        printf("    %10.5f  %6u  ", t->top[i].logprob, t->top[i].token);
        print_piece(s, t->top[i].token);
    }
}

static bool emit(struct score *s, size_t index, const struct scored *t, struct error *e)
{
    if (index > 0) {
        s->sum += t->logprob;
        s->n_scored++;
    }
    if (s->json != NULL) {
        return emit_json(s, index, t, e);
    }
    emit_text(s, index, t);
    return true;
}

/* The logits after token `index` score token index + 1. */
static bool score_row(struct score *s, const float *logits, size_t index, struct error *e)
{
    uint32_t n = n_choices(s);
    if (!logprobs_check(logits, n, index + 1, e)) {
        return error_prefix(e, "%s", s->session.path);
    }
    if (s->logits != NULL && fwrite(logits, sizeof *logits, n, s->logits) != n) {
        return error_set(e, ERROR_IO, "%s cannot be written: %s", s->options.logits_path,
                         strerror(errno));
    }
    if (index + 1 < s->tokens.n) {
        double log_sum = logprobs_log_sum(logits, n);
        struct scored t;
        t.logprob = (double)logits[s->tokens.ids[index + 1]] - log_sum;
        logprobs_top(logits, n, log_sum, t.top, s->options.top);
        return emit(s, index + 1, &t, e);
    }
    return true;
}

static bool score_tokens(struct score *s, struct engine *g, struct engine_seq *seq, struct error *e)
{
    struct engine_row_span span = {0};
    bool busy;
    if (!emit(s, 0, NULL, e)) {
        return false;
    }
    while (span.first + span.n < s->tokens.n) {
        if (!engine_step(g, &busy, e)) {
            return false;
        }
        engine_take_rows(g, seq, &span);
        for (uint32_t i = 0; i < span.n; i++) {
            if (!score_row(s, span.rows + (size_t)i * s->session.model.config.n_vocab,
                           span.first + i, e)) {
                return false;
            }
        }
    }
    return true;
}

static bool check_length(const struct score *s, struct error *e)
{
    if (s->tokens.n > s->session.n_ctx) {
        return error_set(e, ERROR_CONTEXT, "%zu tokens do not fit the context of %u", s->tokens.n,
                         s->session.n_ctx);
    }
    return true;
}

static bool compute(struct score *s, struct error *e)
{
    if (!check_length(s, e)) {
        return false;
    }
    uint32_t n = (uint32_t)s->tokens.n, batch = s->options.model.batch;
    struct engine_options options = {.n_ctx = n,
                                     .batch = batch,
                                     .n_choices = n_choices(s),
                                     .kv_type = s->session.kv_type,
                                     .prompt_logits = batch};
    struct sampler_params sampler;
    sampler_params_default(&sampler);
    struct engine_request request = {
        .sampler = &sampler, .tokens = s->tokens.ids, .n_tokens = n, .rows = ENGINE_LOGITS};
    struct engine engine;
    if (!engine_init(&engine, &s->session.model, s->session.pool, &options, e)) {
        return false;
    }
    struct engine_seq *seq = engine_open(&engine, &request, e);
    bool ok = seq != NULL && score_tokens(s, &engine, seq, e);
    engine_finish(&engine);
    return ok;
}

static bool print_totals(struct score *s, struct error *e)
{
    double perplexity = fmath_exp(-s->sum / (double)s->n_scored);
    if (s->json == NULL) {
        printf("tokens %zu  sum %.6f  perplexity %.6f\n", s->n_scored, s->sum, perplexity);
        return true;
    }
    json_t *root =
        json_pack("{s:O,s:i,s:f,s:o}", "tokens", s->json, "n_scored", (int)s->n_scored, "sum",
                  s->sum, "perplexity", isfinite(perplexity) ? json_real(perplexity) : json_null());
    return print_json_document(root, JSON_COMPACT | JSON_REAL_PRECISION(17), e);
}

static bool run(struct score *s, const struct cmd_env *env, const char *model, struct error *e)
{
    if (s->options.ids && (s->options.special || s->options.no_bos)) {
        return error_set(e, ERROR_USAGE, "--ids excludes --special and --no-bos");
    }
    if (!session_open(&s->session, env, model, &s->options.model, e) || !read_tokens(s, e)) {
        return false;
    }
    s->options.top = s->options.top < n_choices(s) ? s->options.top : n_choices(s);
    if (s->options.logits_path != NULL) {
        s->logits = fopen(s->options.logits_path, "wb");
        if (s->logits == NULL) {
            return error_set(e, ERROR_IO, "%s cannot be written: %s", s->options.logits_path,
                             strerror(errno));
        }
    }
    s->json = s->options.json ? json_array() : NULL;
    if (!compute(s, e)) {
        return false;
    }
    if (s->logits != NULL) {
        bool closed = fclose(s->logits) == 0;
        s->logits = NULL;
        if (!closed) {
            return error_set(e, ERROR_IO, "%s cannot be written: %s", s->options.logits_path,
                             strerror(errno));
        }
    }
    return print_totals(s, e);
}

int cmd_score(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "score",
        .synopsis = "[OPTION]... [MODEL] < TEXT",
        .about =
            "Print the natural-log probability of each token of the text on standard input,\n"
            "given those before it, their sum and the perplexity. The first token has nothing\n"
            "before it and is not scored.",
    };
    struct score s = {.options.model.batch = DEFAULT_BATCH};
    struct score_options *o = &s.options;
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_FLAG, "ids", 0, NULL, NULL, &o->ids, 0, 0,
         "standard input holds token ids, not text", NULL},
        {OPTION_U32, "top", 0, NULL, "N", &o->top, 0, MAX_TOP,
         "also show the N most probable tokens at each place", NULL},
        {OPTION_FLAG, "json", 0, NULL, NULL, &o->json, 0, 0,
         "print one JSON object; a perplexity above 1.8e308 is null", NULL},
        {OPTION_FLAG, "special", 0, NULL, NULL, &o->special, 0, 0,
         "special tokens in the text count as such", NULL},
        {OPTION_FLAG, "no-bos", 0, NULL, NULL, &o->no_bos, 0, 0,
         "add neither the begin-of-text nor the end-of-text token\n(default: as the file says)",
         NULL},
        {OPTION_TEXT, "logits", 0, NULL, "FILE", &o->logits_path, 0, 0,
         "write all logits, f32, one row of the vocabulary a token", NULL},
        OPTIONS_MODEL(o->model, "128"),
        OPTION_EXACT(o->model),
        OPTIONS_CACHE(o->model),
    };
    const char *model;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    bool ok = run(&s, env, model, &e);
    int code = ok ? cmd_finish_output("score", 0) : cmd_fail("score", &e);
    if (code == 0) {
        session_keep(&s.session, s.session.pool); /* the output is out: nobody waits for this */
    }
    if (s.logits != NULL) {
        fclose(s.logits);
    }
    json_decref(s.json);
    token_list_finish(&s.tokens);
    session_close(&s.session);
    return code;
}
