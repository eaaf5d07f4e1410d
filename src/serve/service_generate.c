/* service_generate.c - chats and completions: from the body of a request to work for the engine. */
#include "base/mem.h"
#include "serve/service_internal.h"

#include <stdio.h>

/* A prompt's byte takes at most six in JSON, so an answer has room for them. */
enum { MAX_ECHOED_TOKENS = 131072, MAX_ECHOED_BYTES = 8 << 20 };

/* Of the context: what is kept free for an answer without max_tokens when turns are dropped. */
enum { ANSWER_SHARE = 8 };

/* ---- prompts ---- */

/* A template that cannot cope with a conversation is no fault of the server's. */
static bool blame_conversation(struct error *e)
{
    if (e != NULL && e->code == ERROR_FORMAT) {
        e->code = ERROR_USAGE;
        error_prefix(e, "the model's chat template cannot write this conversation");
    }
    return false;
}

bool service_write(const struct service *s, const struct api_generation *r, size_t n_system,
                   size_t n_dropped, struct jinja_output *out, struct error *e)
{
    size_t n = r->n_messages - n_dropped;
    if (s->chat == NULL) {
        return error_set(e, s->no_chat.code, "%s", s->no_chat.text);
    }
    struct chat_message *kept = mem_alloc(n, sizeof *kept, "messages", e);
    if (kept == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        kept[i] = r->messages[i < n_system ? i : i + n_dropped];
    }
    struct chat_input input = {.messages = kept,
                               .n = n,
                               .tools = r->tools,
                               .add_generation_prompt = r->add_generation_prompt};
    bool ok = chat_template_write(s->chat, &input, out, e) || blame_conversation(e);
    mem_free(kept);
    return ok;
}

/* Messages from `from` on up to the next user's, which begins a turn. */
static size_t turn_end(const struct api_generation *r, size_t from)
{
    size_t i = from + 1;
    while (i < r->n_messages && r->messages[i].role != CHAT_USER) {
        i++;
    }
    return i;
}

/* Where the turns end that may be dropped: *out_n numbers of messages, freed by the caller. The
 * system's messages in front and the last turn are never dropped. */
static bool find_turns(const struct api_generation *r, size_t *out_n_system, size_t **out_ends,
                       size_t *out_n, struct error *e)
{
    size_t n_system = 0, n = 0;
    size_t *ends = mem_alloc(r->n_messages, sizeof *ends, "turns of a chat", e);
    if (ends == NULL) {
        return false;
    }
    while (n_system < r->n_messages && r->messages[n_system].role == CHAT_SYSTEM) {
        n_system++;
    }
    for (size_t i = turn_end(r, n_system); i < r->n_messages; i = turn_end(r, i)) {
        ends[n++] = i;
    }
    *out_n_system = n_system;
    *out_ends = ends;
    *out_n = n;
    return true;
}

static bool render(const struct service *s, const struct api_generation *r, size_t n_system,
                   size_t n_dropped, struct token_list *out, struct error *e)
{
    struct jinja_output text;
    if (!service_write(s, r, n_system, n_dropped, &text, e)) {
        return false;
    }
    bool ok = chat_template_encode(s->chat, &text, out, e);
    jinja_output_finish(&text);
    return ok;
}

/* Drops the oldest turns, as few as leave at most `room` tokens, or all that may go.
 *
 * The number is bisected: a chat has thousands of turns, and each try renders what is left. That is
 * right where dropping a turn more never lengthens the prompt, as with templates that write every
 * message between control tokens, so that its tokens depend on nothing else. With others (Llama 2
 * writes the system's text and the first user's as one) a turn more than need be may go. What is
 * kept was rendered and measured all the same. */
static bool truncate_chat(const struct service *s, struct answer_job *job, uint32_t room,
                          struct token_list *prompt, struct error *e)
{
    const struct api_generation *r = &job->request.generation;
    size_t n_full = prompt->n, n_system, n_turns, *ends;
    if (n_full <= room) {
        return true;
    }
    if (!find_turns(r, &n_system, &ends, &n_turns, e)) {
        return false;
    }
    size_t low = 0, high = n_turns, rendered = 0; /* turns: low are too few, high suffice or all */
    bool ok = true;
    while (ok && (low + 1 < high || rendered != high)) {
        size_t middle = low + 1 < high ? low + (high - low) / 2 : high;
        *prompt = (struct token_list){.ids = prompt->ids, .capacity = prompt->capacity};
        ok = render(s, r, n_system, ends[middle - 1] - n_system, prompt, e);
        rendered = middle;
        if (prompt->n > room && middle < high) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (ok && n_turns > 0) {
        job->truncated = (struct api_truncated){.n_messages = ends[high - 1] - n_system,
                                                .n_tokens = n_full - prompt->n,
                                                .first = n_system};
    }
    mem_free(ends);
    return ok;
}

/* The whole conversation, or the oldest turns dropped where the request allows it. What cannot fit
 * is not tokenised first, unless it may be cut: its answer tells how many tokens went. */
static bool make_chat_prompt(const struct service *s, struct answer_job *job,
                             struct api_error *error)
{
    const struct api_generation *r = &job->request.generation;
    uint32_t least = s->n_ctx >= ANSWER_SHARE ? s->n_ctx / ANSWER_SHARE : 1;
    uint32_t answer = r->max_tokens == API_TO_CONTEXT_END ? least : r->max_tokens;
    bool may_cut = r->truncation == API_TRUNCATION_AUTO;
    struct error e = {0};
    struct jinja_output text;
    job->g = generation_create(1, r->best_of, &e);
    if (job->g == NULL || !service_write(s, r, 0, 0, &text, &e)) {
        return api_error_from(error, &e, "messages");
    }
    size_t n = may_cut ? 0 : tokenizer_least_tokens(s->answers.tokenizer, buf_str(&text.text));
    bool fits = n <= s->n_ctx;
    bool ok = fits && chat_template_encode(s->chat, &text, &job->g->prompts[0], &e) &&
              (!may_cut || answer >= s->n_ctx ||
               truncate_chat(s, job, s->n_ctx - answer, &job->g->prompts[0], &e));
    jinja_output_finish(&text);
    return ok || (fits ? api_error_from(error, &e, "messages")
                       : api_error_context_least(error, "messages", s->n_ctx, n));
}

/* Where the text, written by a template of the client's, begins with the token already, it has it
 * once all the same. */
static void drop_second_bos(const struct token_info *info, struct token_list *prompt)
{
    const uint32_t *ids = prompt->ids;
    if (info->add_bos && prompt->n > 1 && ids[0] == info->bos && ids[1] == info->bos) {
        prompt->n--;
        memmove(prompt->ids, ids + 1, prompt->n * sizeof *ids);
    }
}

/* Who sends a completion writes the whole prompt, control tokens included; an empty one is where
 * texts begin. */
static bool encode_prompts(const struct service *s, struct answer_job *job, struct error *e)
{
    const struct api_generation *r = &job->request.generation;
    const struct token_info *info = tokenizer_info(s->answers.tokenizer);
    job->g = generation_create((uint32_t)r->n_prompts, r->best_of, e);
    if (job->g == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->n_prompts; i++) {
        const struct api_prompt *given = &r->prompts[i];
        struct token_list *prompt = &job->g->prompts[i];
        bool ok = given->is_ids || tokenizer_encode(s->answers.tokenizer, given->text,
                                                    TOKEN_ADD_BOS | TOKEN_PARSE_SPECIAL, prompt, e);
        if (ok && !given->is_ids) {
            drop_second_bos(info, prompt);
        }
        for (size_t k = 0; ok && given->is_ids && k < given->n_ids; k++) {
            ok = token_list_push(prompt, given->ids[k], e);
        }
        if (ok && prompt->n == 0) {
            uint32_t start = info->bos != TOKEN_NONE ? info->bos : info->eos;
            ok =
                start != TOKEN_NONE
                    ? token_list_push(prompt, start, e)
                    : error_set(e, ERROR_USAGE,
                                "a prompt is empty, and the model has no token that begins a text");
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool make_completion_prompts(const struct service *s, struct answer_job *job,
                                    struct api_error *error)
{
    const struct api_generation *r = &job->request.generation;
    struct error e = {0};
    for (size_t i = 0; i < r->n_prompts; i++) {
        const struct api_prompt *given = &r->prompts[i];
        size_t least =
            given->is_ids ? 0 : tokenizer_least_tokens(s->answers.tokenizer, given->text);
        if (least > s->n_ctx) {
            char param[SERVICE_ENTRY_BYTES];
            service_name_entry(param, "prompt", i, r->n_prompts);
            return api_error_context_least(error, param, s->n_ctx, least);
        }
    }
    return encode_prompts(s, job, &e) || api_error_from(error, &e, "prompt");
}

void service_name_entry(char out[SERVICE_ENTRY_BYTES], const char *param, size_t i, size_t n)
{
    int length = snprintf(out, SERVICE_ENTRY_BYTES, "%s", param);
    if (n > 1) {
        snprintf(out + length, (size_t)(SERVICE_ENTRY_BYTES - length), "[%zu]", i);
    }
}

bool service_warn_dropped(struct api_request *request, const char *param, size_t n_bytes,
                          struct api_error *error)
{
    char text[96];
    snprintf(text, sizeof text, "has %zu byte%s that the vocabulary has no token for: left out",
             n_bytes, n_bytes > 1 ? "s" : "");
    return n_bytes == 0 || api_request_warn(request, param, text, error);
}

static bool warn_dropped(struct answer_job *job, const char *param, struct api_error *error)
{
    size_t n = 0;
    for (uint32_t i = 0; i < job->g->n_prompts; i++) {
        n += job->g->prompts[i].n_dropped;
    }
    return service_warn_dropped(&job->request, param, n, error);
}

/* ---- checks ---- */

/* Every prompt and the answer asked for must fit the context. */
static bool check_context(const struct service *s, struct answer_job *job, struct api_error *error)
{
    const struct api_generation *r = &job->request.generation;
    const char *name = job->request.endpoint == API_CHAT ? "messages" : "prompt";
    uint32_t n_ctx = s->n_ctx, longest = 0;
    uint32_t answer = r->max_tokens == API_TO_CONTEXT_END ? 1 : r->max_tokens;
    for (uint32_t i = 0; i < job->g->n_prompts; i++) {
        size_t n = job->g->prompts[i].n;
        char param[SERVICE_ENTRY_BYTES];
        service_name_entry(param, name, i, job->g->n_prompts);
        if (n > n_ctx) {
            return api_error_context(error, param, n_ctx, n, 0);
        }
        if (answer > n_ctx - n) {
            return api_error_context(error, param, n_ctx, n, answer);
        }
        longest = n > longest ? (uint32_t)n : longest;
    }
    uint32_t room = n_ctx - longest;
    job->max_tokens = r->max_tokens != API_TO_CONTEXT_END ? r->max_tokens
                      : room < job->most_tokens           ? room
                                                          : job->most_tokens;
    return true;
}

static size_t text_bytes(const struct service *s, const struct api_prompt *given)
{
    size_t n = given->is_ids ? 0 : given->text.n;
    for (size_t k = 0; given->is_ids && k < given->n_ids; k++) {
        n += tokenizer_piece(s->answers.tokenizer, given->ids[k], false).n;
    }
    return n;
}

/* Every choice has a copy of its prompt's text, and what is told of its tokens, until the answer is
 * written. */
static bool check_echo(const struct service *s, const struct answer_job *job,
                       struct api_error *error)
{
    const struct api_generation *r = &job->request.generation;
    uint64_t n = 0, n_bytes = 0, most = s->n_ctx > MAX_ECHOED_TOKENS ? s->n_ctx : MAX_ECHOED_TOKENS;
    for (uint32_t i = 0; r->echo && r->logprobs && i < job->g->n_prompts; i++) {
        n += (uint64_t)job->g->prompts[i].n * r->best_of;
    }
    for (size_t i = 0; r->echo && i < r->n_prompts; i++) {
        n_bytes += (uint64_t)text_bytes(s, &r->prompts[i]) * r->best_of;
    }
    if (n_bytes > MAX_ECHOED_BYTES) {
        return api_error_set(error, API_ERROR_INVALID_VALUE, "echo",
                             "echo repeats %llu bytes of prompts in all choices together, at most "
                             "%d are allowed",
                             (unsigned long long)n_bytes, MAX_ECHOED_BYTES);
    }
    return n <= most ||
           api_error_set(error, API_ERROR_INVALID_VALUE, "echo",
                         "echo with logprobs tells of %llu tokens of prompts in all choices "
                         "together, at most %llu are allowed",
                         (unsigned long long)n, (unsigned long long)most);
}

/* Bytes of an answer that a token takes: its text, and with logprobs an entry for itself and each
 * of the likeliest. These are the usual ones and some; a model that says nothing but its longest
 * tokens takes more. */
static uint64_t bytes_per_token(const struct api_request *request, uint64_t text)
{
    const struct api_generation *r = &request->generation;
    uint64_t entry = request->endpoint == API_CHAT ? 96 : 64;
    return text + (r->logprobs ? entry * (1 + r->top_logprobs) : 0);
}

/* Bytes of s within a JSON text. */
static size_t json_bytes(struct str s)
{
    size_t n = s.n;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        n += c < 0x20 ? 5 : c == '"' || c == '\\';
    }
    return n;
}

/* Prompts come at once, before the client can have read anything: they must not be what it is
 * dropped for. */
static bool check_stream(const struct service *s, const struct answer_job *job,
                         struct api_error *error)
{
    enum { AROUND_ECHO = 1024 };
    const struct api_generation *r = &job->request.generation;
    uint64_t n = 0, most = s->limits.stream_bytes;
    for (size_t i = 0; r->stream && r->echo && i < r->n_prompts; i++) {
        const struct api_prompt *given = &r->prompts[i];
        uint64_t entries =
            r->logprobs ? job->g->prompts[i].n * bytes_per_token(&job->request, 0) : 0;
        uint64_t text = given->is_ids ? text_bytes(s, given) : json_bytes(given->text);
        n += r->best_of * (text + entries + AROUND_ECHO);
    }
    return n <= most || api_error_set(error, API_ERROR_INVALID_VALUE, "echo",
                                      "echo repeats about %llu bytes in all choices together, at "
                                      "most %llu are kept of a stream until they are read",
                                      (unsigned long long)n, (unsigned long long)most);
}

/* An answer that is sent as a whole must fit its buffer, which is better known before it was
 * computed; what best_of chooses from waits in memory, too. Where the request leaves the length to
 * the server, that is cut instead. */
static bool check_answer(const struct service *s, struct answer_job *job, struct api_error *error)
{
    const struct api_generation *r = &job->request.generation;
    uint64_t per_token = bytes_per_token(&job->request, 16), n_echo = 0;
    uint64_t n_choices = (uint64_t)r->best_of * job->g->n_prompts, most = s->limits.answer_bytes;
    for (uint32_t i = 0; r->echo && r->logprobs && i < job->g->n_prompts; i++) {
        n_echo += job->g->prompts[i].n * (uint64_t)r->n * bytes_per_token(&job->request, 0);
    }
    if (r->stream || n_echo + n_choices * job->max_tokens * per_token <= most) {
        return true;
    }
    if (r->max_tokens == API_TO_CONTEXT_END && n_echo + n_choices * per_token <= most) {
        job->max_tokens = (uint32_t)((most - n_echo) / (n_choices * per_token));
        return true;
    }
    return api_error_set(
        error, API_ERROR_INVALID_VALUE, "max_tokens",
        "max_tokens %u in %llu choices (n or best_of) with logprobs of %u tokens at each place, "
        "and %llu bytes for prompts' logprobs, are about %llu bytes, at most %llu "
        "are allowed in one answer without stream",
        job->max_tokens, (unsigned long long)n_choices, r->logprobs ? 1 + r->top_logprobs : 0,
        (unsigned long long)n_echo,
        (unsigned long long)(n_echo + n_choices * job->max_tokens * per_token),
        (unsigned long long)most);
}

static uint64_t hash_salt(struct str salt)
{
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < salt.n; i++) {
        hash = (hash ^ (unsigned char)salt.p[i]) * 0x100000001B3u;
    }
    return salt.n > 0 ? hash : 0;
}

/* A request without a seed asks for chance. */
static void choose_seed(struct service *s, struct api_generation *r)
{
    if (!r->has_seed) {
        r->sampler.seed = rng_next(&s->seeds);
    }
}

static bool make_job(const struct service *s, struct answer_job *job, struct api_error *error)
{
    bool is_chat = job->request.endpoint == API_CHAT;
    const char *param = is_chat ? "messages" : "prompt";
    /* a prompt that is too long is refused before anything is compiled for it */
    if (!(is_chat ? make_chat_prompt : make_completion_prompts)(s, job, error) ||
        !check_context(s, job, error) ||
        !service_constrain(s, &job->request, &job->g->grammar, error)) {
        return false;
    }
    job->g->salt = hash_salt(job->request.generation.cache_salt);
    return check_echo(s, job, error) && check_stream(s, job, error) &&
           check_answer(s, job, error) && warn_dropped(job, param, error);
}

/* Seconds in the field as the official clients write them, "600" or "0.5"; negative when it is not
 * so, or not there. */
static double read_seconds(const struct http_exchange *x, const char *field)
{
    enum { MOST_WHOLE = 9, MOST_DIGITS = 15 }; /* decades; what a double tells apart */
    struct str s = http_header(x, field);
    double digits = 0.0, scale = 1.0;
    bool has_point = false;
    for (size_t i = 0; i < s.n; i++) {
        bool is_digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (s.p[i] == '.' && !has_point && i > 0) {
            has_point = true;
        } else if (!is_digit || (!has_point && i >= MOST_WHOLE)) {
            return -1.0;
        } else if (i <= MOST_DIGITS) {
            digits = digits * 10.0 + (s.p[i] - '0');
            scale *= has_point ? 10.0 : 1.0;
        }
    }
    return s.n > 0 ? digits / scale : -1.0;
}

/* Python's client says so, JavaScript's gives its time for the head of the answer without the
 * fraction. */
double service_patience_of(const struct http_exchange *x)
{
    double read_s = read_seconds(x, "x-stainless-read-timeout");
    double whole_s = read_seconds(x, "x-stainless-timeout");
    return read_s > 0.0 ? read_s : whole_s >= 0.0 ? whole_s + 1.0 : 0.0;
}

/* A chat or a completion on its way to the engine. */
struct generation_work {
    struct service_work work; /* first */
    struct answer_job job;
};

static bool make_generation(struct service_work *w)
{
    struct answer_job *job = &((struct generation_work *)w)->job;
    job->request = w->request;
    job->most_tokens = api_most_tokens(&w->options);
    w->request = (struct api_request){0};
    return service_check_calls(w->service, &job->request, &w->error) &&
           make_job(w->service, job, &w->error);
}

static bool begin_generation(struct service_work *w, struct http_exchange *x)
{
    struct service *s = w->service;
    struct answer_job *job = &((struct generation_work *)w)->job;
    struct error e = {0};
    choose_seed(s, &job->request.generation);
    job->patience_s = service_patience_of(x);
    job->g->arrived_ns = w->start_ns;
    if (!service_reserve(x, job, &w->error) ||
        !service_begin_row(s, x, job->request.endpoint, job->id, &job->entry, &w->error)) {
        return false;
    }
    bool ok = answer_begin(&s->answers, x, job, &e) || api_error_from(&w->error, &e, NULL);
    w->error.retry_s = job->retry_s;
    return ok;
}

static void finish_generation(struct service_work *w)
{
    struct answer_job *job = &((struct generation_work *)w)->job;
    generation_destroy(job->g);
    api_request_finish(&job->request);
}

void service_chat(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {.endpoint = API_CHAT,
                                             .bytes = sizeof(struct generation_work),
                                             .make = make_generation,
                                             .begin = begin_generation,
                                             .finish = finish_generation};
    (void)parameter;
    service_begin_work(service, x, &kind);
}

void service_completion(void *service, struct http_exchange *x, struct str parameter)
{
    static const struct service_kind kind = {.endpoint = API_COMPLETION,
                                             .bytes = sizeof(struct generation_work),
                                             .make = make_generation,
                                             .begin = begin_generation,
                                             .finish = finish_generation};
    (void)parameter;
    service_begin_work(service, x, &kind);
}
