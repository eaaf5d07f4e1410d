/* run.c - `puna run`: one answer for scripts, or a chat in the terminal (repl.c). */
#include "cmd/run.h"

#include "base/mem.h"
#include "base/program.h"
#include "cmd/limit.h"
#include "cmd/print.h"
#include "kern/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_INPUT_BYTES = 16 << 20, MAX_ANSWER_BYTES = 64 << 20, TOOL_TIMEOUT_S = 60 };

volatile sig_atomic_t run_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    run_interrupted = 1;
}

/* ---- sampling options ---- */

static bool add_bias(struct run_biases *biases, uint32_t id, float bias, struct error *e)
{
    if (biases->n == SAMPLER_MAX_BIASES) {
        return error_set(e, ERROR_USAGE, "more than %d biases", SAMPLER_MAX_BIASES);
    }
    biases->list[biases->n++] = (struct sampler_bias){id, bias};
    return true;
}

bool run_parse_bias(void *target, const char *value, struct error *e)
{
    struct run_biases *biases = target;
    const char *sign = strpbrk(value, "+-");
    char *end_of_id = NULL, *end = NULL;
    unsigned long long id = strtoull(value, &end_of_id, 10);
    float bias = sign != NULL ? strtof(sign, &end) : 0.0f;
    if (value[0] < '0' || value[0] > '9' || sign == NULL || end_of_id != sign || end == sign ||
        *end != '\0' || id >= TOKEN_NONE) {
        return error_set(e, ERROR_USAGE, "'%s' is not ID+B or ID-B, such as 42+1.5 or 42-inf",
                         value);
    }
    return add_bias(biases, (uint32_t)id, bias, e);
}

/* --ignore-eos: what ends a turn cannot be sampled. */
static bool forbid_ends(struct run_biases *biases, const struct tokenizer *t, struct error *e)
{
    for (uint32_t id = 0; id < tokenizer_info(t)->n_tokens; id++) {
        if (tokenizer_is_end(t, id) && !add_bias(biases, id, -INFINITY, e)) {
            return false;
        }
    }
    return true;
}

static struct sampler_params sampler_params_of(const struct run_options *o)
{
    struct sampler_params p = o->sampler;
    p.logit_bias = o->biases.list;
    p.n_logit_bias = o->biases.n;
    return p;
}

/* The option of a parameter as the sampler names it: as in the API. */
static void name_option(struct str parameter, char option[ERROR_TEXT_BYTES])
{
    bool is_temp = str_eq(parameter, STR("temperature"));
    struct str name = is_temp                               ? STR("temp")
                      : str_eq(parameter, STR("typical_p")) ? STR("typical")
                                                            : parameter;
    snprintf(option, ERROR_TEXT_BYTES, "%.*s", STR_ARG(name));
    for (char *c = option; *c != '\0'; c++) {
        *c = *c == '_' ? '-' : *c;
    }
}

static bool check_sampler(const struct sampler_params *p, uint32_t n_vocab, struct error *e)
{
    if (sampler_params_check(p, n_vocab, e)) {
        return true;
    }
    const struct error why = *e;
    struct str parameter = {why.text, strcspn(why.text, " ")};
    char option[ERROR_TEXT_BYTES];
    name_option(parameter, option);
    return error_set(e, ERROR_USAGE, "--%s%s", option, why.text + parameter.n);
}

bool run_set_sampler(struct run *r, const struct run_options *o, struct error *e)
{
    struct sampler_params params = sampler_params_of(o);
    struct sampler sampler;
    if (!sampler_init(&sampler, &params, r->engine.options.n_choices, e)) {
        return false;
    }
    sampler_finish(&r->seq->sampler);
    r->seq->sampler = sampler;
    r->options = *o;
    return true;
}

/* ---- output ---- */

static bool is_harmless(unsigned char c)
{
    return (c >= 0x20 && c != 0x7F) || c == '\n' || c == '\t';
}

/* A model must not drive the terminal: C0 and C1 controls but newline and tab are left out. */
static void put_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_c1 = c == 0xC2 && i + 1 < s.n && ((unsigned char)s.p[i + 1] & 0xE0) == 0x80;
        if (is_c1) {
            i++;
        } else if (is_harmless(c)) {
            putchar(c);
        }
    }
}

static bool put_text(const struct run *r, struct str text, struct error *e)
{
    if (r->to_terminal) {
        put_visible(text);
    } else {
        fwrite(text.p, 1, text.n, stdout);
    }
    return fflush(stdout) == 0 ||
           error_set(e, ERROR_IO, "standard output cannot be written: %s", strerror(errno));
}

struct output {
    struct run *run;
    struct run_answer *answer; /* NULL: all is content, and nothing is kept */
};

/* Content behind the first n_before bytes of it. */
static bool put_content(const struct output *o, size_t n_before, struct error *e)
{
    const struct buf *text = &o->answer->text;
    return text->n == n_before || put_text(o->run, str_skip(buf_str(text), n_before), e);
}

static bool put_answer(void *argument, struct str text, struct error *e)
{
    struct output *o = argument;
    if (o->answer == NULL) {
        return put_text(o->run, text, e);
    }
    size_t n_before = o->answer->text.n;
    return run_calls_push(&o->answer->calls, text, &o->answer->text, e) &&
           put_content(o, n_before, e);
}

/* The answer has ended: what was held back. */
static bool put_rest(struct output *o, struct error *e)
{
    size_t n_before = o->answer->text.n;
    bool is_cut = o->answer->stats.end != GENERATE_END_OF_TURN;
    return run_calls_flush(&o->answer->calls, is_cut, &o->answer->text, e) &&
           put_content(o, n_before, e);
}

/* Computes and streams the answer to `ids`. */
static bool answer(struct output *output, const struct token_list *ids,
                   struct generate_stats *out_stats, struct error *e)
{
    struct run *r = output->run;
    struct generate_request request = {.tokens = ids->ids,
                                       .n_tokens = ids->n,
                                       .max_tokens = r->options.max_tokens,
                                       .emit = put_answer,
                                       .emit_argument = output,
                                       .shows_calls = output->answer != NULL &&
                                                      output->answer->calls.parser != NULL,
                                       .progress = &r->session.progress,
                                       .stop = &run_interrupted};
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, before;
    sigaction(SIGINT, &action, &before);
    bool ok = engine_constrain(&r->engine, r->seq, r->options.format.automaton, e) &&
              generate_answer(&r->engine, r->seq, r->session.tokenizer, &request, out_stats, e);
    sigaction(SIGINT, &before, NULL);
    return ok;
}

void run_answer_finish(struct run_answer *a)
{
    buf_finish(&a->text);
    run_calls_finish(&a->calls);
}

bool run_conversation(struct run *r, const struct conversation *c, struct run_answer *out,
                      struct error *e)
{
    struct token_list ids = {0};
    struct output output = {r, out};
    struct chat_input input = conversation_input(c, true);
    *out = (struct run_answer){0};
    buf_init(&out->text, MAX_ANSWER_BYTES);
    bool ok = run_calls_init(&out->calls, &r->template, c->tools, e) &&
              chat_template_render(&r->template, &input, &ids, e);
    if (ok && ids.n_dropped > r->n_dropped) {
        cmd_warn_dropped("run", ids.n_dropped - r->n_dropped);
        r->n_dropped = ids.n_dropped;
    }
    ok = ok && answer(&output, &ids, &out->stats, e) && put_rest(&output, e);
    token_list_finish(&ids);
    bool is_nothing = out->text.n == 0 && out->stats.end == GENERATE_STOPPED;
    if (ok && !is_nothing && (out->text.n > 0 || out->calls.n_list == 0)) {
        putchar('\n');
        fflush(stdout);
    }
    return ok && run_calls_settle(&out->calls, e);
}

/* ---- statistics ---- */

/* What this machine can do now, the best of a few measurements; the model is packed. */
static struct roofline_machine probe_machine(const struct run *r)
{
    enum { N_PROBES = 5 };
    const struct model_weights *w = &r->session.model.weights;
    struct roofline_machine best = {0};
    for (int i = 0; i < N_PROBES; i++) {
        best.read = fmax(best.read, probe_read(r->session.pool, w->packed, w->packed_bytes));
        best.int8 = fmax(best.int8, probe_int8(r->session.pool, r->session.model.kern->set));
        best.f32 = fmax(best.f32, probe_f32(r->session.pool));
        if (r->session.model.kern->numerics == KERN_BF16) {
            best.bf16 = fmax(best.bf16, probe_bf16(r->session.pool));
        }
    }
    return best;
}

/* n tokens after `depth` others, in steps of at most `chunk`. Every token of an answer needs
 * logits, of a prompt the last alone. */
static struct limit limit_of(const struct run *r, const struct roofline_machine *machine,
                             uint32_t depth, uint32_t n, uint32_t chunk, bool is_answer)
{
    struct limit limit = {0};
    for (uint32_t done = 0; done < n; done += chunk) {
        uint32_t left = n - done;
        struct limit_step step = {.batch = 1,
                                  .n_tokens = left < chunk ? left : chunk,
                                  .n_logits = is_answer || left <= chunk ? 1 : 0,
                                  .depth = depth + done,
                                  .kv_type = r->session.kv_type};
        limit_add(&limit, &r->session.model, machine, &step);
    }
    return limit;
}

/* speed: 0 where nothing was timed */
static void print_speed(const char *name, uint32_t n_tokens, double speed)
{
    char text[32] = "-";
    if (speed > 0) {
        snprintf(text, sizeof text, "%.1f", speed);
    }
    fprintf(stderr, "%-11s %6u %-6s  %9s tokens/s", name, n_tokens,
            n_tokens == 1 ? "token" : "tokens", text);
}

static void print_share(const struct limit *limit, uint32_t n, double speed)
{
    if (limit->seconds > 0) {
        double most = n / limit->seconds;
        fprintf(stderr, "  %5.1f %% of this machine's %.1f (%s)", speed / most * 100, most,
                roofline_bound_name(limit_bound(limit)));
    }
    putc('\n', stderr);
}

static void print_guesses(const char *name, const struct speculation_count *c)
{
    if (c->made > 0) {
        fprintf(stderr, "%-11s %6" PRIu64 " of %" PRIu64 " came true\n", name, c->right, c->made);
    }
}

void run_print_stats(struct run *r, const struct generate_stats *s)
{
    double prompt_speed = s->prompt_seconds > 0 ? s->n_prompt / s->prompt_seconds : 0.0;
    uint32_t n_decoded = s->n_answer > 0 ? s->n_answer - 1 : 0; /* the prompt's step gave one */
    double answer_speed = s->answer_seconds > 0 ? n_decoded / s->answer_seconds : 0.0;
    struct limit prompt = {0}, answer = {0};
    if (r->session.model.weights.packed != NULL) {
        struct roofline_machine machine = probe_machine(r);
        uint32_t batch = r->engine.options.batch;
        prompt = limit_of(r, &machine, s->n_kept, s->n_answer > 0 ? s->n_prompt : 0, batch, false);
        answer = limit_of(r, &machine, s->n_kept + s->n_prompt, n_decoded, 1, true);
    }
    fprintf(stderr, "seed        %" PRIu64 "\n", r->options.sampler.seed);
    fprintf(stderr, "numerics    %s\n",
            r->options.model.exact ? "exact" : kern_numerics_name(r->session.model.kern->numerics));
    print_speed("prompt", s->n_prompt, prompt_speed);
    print_share(&prompt, s->n_prompt, prompt_speed);
    print_speed("generation", s->n_answer, answer_speed);
    print_share(&answer, n_decoded, answer_speed);
    print_guesses("guesses", &s->guesses[SPECULATION_NGRAM]);
    print_guesses("draft", &s->guesses[SPECULATION_DRAFT]);
}

/* ---- one answer ---- */

static bool answer_raw(struct run *r, struct str text, struct generate_stats *stats,
                       struct error *e)
{
    struct token_list ids = {0};
    unsigned flags =
        (r->options.no_bos ? 0 : TOKEN_ADD_BOS) | (r->options.special ? TOKEN_PARSE_SPECIAL : 0);
    bool ok = tokenizer_encode(r->session.tokenizer, text, flags, &ids, e);
    cmd_warn_dropped("run", ids.n_dropped);
    if (ok && ids.n == 0) {
        ok = error_set(e, ERROR_USAGE, "the prompt is empty");
    }
    ok = ok && answer(&(struct output){.run = r}, &ids, stats, e);
    token_list_finish(&ids);
    if (ok) {
        putchar('\n');
    }
    return ok;
}

/* Calls for scripts: an object a line. */
static void print_calls(const struct run_calls *calls)
{
    for (size_t i = 0; i < calls->n; i++) {
        fputs("{\"id\":", stdout);
        print_json_text(stdout, calls->calls[i].id);
        fputs(",\"name\":", stdout);
        print_json_text(stdout, calls->calls[i].name);
        fputs(",\"arguments\":", stdout);
        print_json_line(stdout, calls->calls[i].arguments);
        fputs("}\n", stdout);
    }
}

static bool answer_chat(struct run *r, struct str text, struct generate_stats *stats,
                        struct error *e)
{
    struct conversation c = {.tools = json_incref(r->tools)};
    struct run_answer answer = {0};
    bool ok = (r->options.system == NULL ||
               conversation_add(&c, CHAT_SYSTEM, str_from(r->options.system), e)) &&
              conversation_add(&c, CHAT_USER, text, e) && run_conversation(r, &c, &answer, e);
    if (ok) {
        print_calls(&answer.calls);
        *stats = answer.stats;
    }
    run_answer_finish(&answer);
    conversation_finish(&c);
    return ok;
}

static bool answer_once(struct run *r, struct str text, struct error *e)
{
    struct generate_stats stats;
    if (text.n == 0 && !r->options.raw) {
        return error_set(e, ERROR_USAGE, "the prompt is empty");
    }
    if (!(r->options.raw ? answer_raw(r, text, &stats, e) : answer_chat(r, text, &stats, e))) {
        return false;
    }
    fflush(stdout);
    if (r->options.stats) {
        run_print_stats(r, &stats);
    }
    if (stats.end == GENERATE_LENGTH && run_format_given(&r->options.format) != NULL) {
        fprintf(stderr,
                "puna run: warning: the answer was cut after %u tokens, as -n says: of its form it "
                "is a beginning alone\n",
                stats.n_answer);
    }
    if (stats.end == GENERATE_STOPPED) {
        return error_set(e, ERROR_INTERRUPTED, "interrupted");
    }
    if (stats.end == GENERATE_CONTEXT) {
        return error_set(e, ERROR_CONTEXT, "the context of %u tokens is full; the answer ends here",
                         r->engine.options.n_ctx);
    }
    return true;
}

/* A text file ends with a newline that its writer did not mean as part of the prompt. */
static struct str without_last_newline(struct str s)
{
    return s.n > 0 && s.p[s.n - 1] == '\n' ? (struct str){s.p, s.n - 1} : s;
}

static bool answer_stdin(struct run *r, struct error *e)
{
    char *text = NULL;
    size_t n = 0;
    if (!cmd_read_stdin(MAX_INPUT_BYTES, &text, &n, e)) {
        return false;
    }
    bool ok = answer_once(r, without_last_newline((struct str){text, n}), e);
    mem_free(text);
    return ok;
}

/* The exact path computes token by token: a guess would cost as much as it saves. */
static uint32_t max_guesses(const struct run_options *o)
{
    return o->model.exact                    ? 0
           : o->draft_max == RUN_DRAFT_UNSET ? ENGINE_DEFAULT_GUESSES
                                             : o->draft_max;
}

static void warn_short_draft(const struct session *s)
{
    uint32_t n = s->draft != NULL ? s->draft->model.config.ctx_train : s->n_ctx;
    if (n < s->n_ctx) {
        fprintf(stderr,
                "puna run: warning: the draft model was made for %u tokens, the context has %u: "
                "beyond those it guesses nothing\n",
                n, s->n_ctx);
    }
}

static bool open_run(struct run *r, const char *model, struct error *e)
{
    if (!chat_options_read(&r->options.chat, e) ||
        !session_open(&r->session, r->env, model, &r->options.model, e)) {
        return false;
    }
    warn_short_draft(&r->session);
    if (r->options.ignore_eos && !forbid_ends(&r->options.biases, r->session.tokenizer, e)) {
        return false;
    }
    struct engine_options options = {.n_ctx = r->session.n_ctx,
                                     .batch = r->options.model.batch,
                                     .kv_type = r->session.kv_type,
                                     .n_choices = tokenizer_info(r->session.tokenizer)->n_tokens,
                                     .max_guesses = max_guesses(&r->options),
                                     .draft = r->session.draft ? &r->session.draft->model : NULL};
    r->has_engine = engine_init(&r->engine, &r->session.model, r->session.pool, &options, e);
    struct sampler_params params = sampler_params_of(&r->options);
    r->seq = r->has_engine && check_sampler(&params, options.n_choices, e)
                 ? engine_open(&r->engine, &(struct engine_request){.sampler = &params}, e)
                 : NULL;
    if (r->seq == NULL) {
        return false;
    }
    if (!run_format_open(&r->options.format, r->session.tokenizer, e)) {
        return false;
    }
    r->has_template = !r->options.raw && chat_options_open(&r->options.chat, r->session.file,
                                                           r->session.tokenizer, &r->template, e);
    return r->options.raw || r->has_template;
}

static void close_run(struct run *r)
{
    if (r->has_template) {
        chat_template_finish(&r->template);
    }
    chat_options_finish(&r->options.chat);
    json_decref(r->tools);
    if (r->has_engine) {
        engine_finish(&r->engine);
    }
    run_format_close(&r->options.format);
    session_close(&r->session);
}

/* Options that would change nothing beside the others. */
static bool check_options(const struct run_options *o, struct error *e)
{
    const char *template_option = o->system != NULL         ? "--system"
                                  : o->tools != NULL        ? "--tools"
                                  : o->tool_command != NULL ? "--tool-command"
                                                            : chat_options_given(&o->chat);
    if (o->raw && template_option != NULL) {
        return error_set(e, ERROR_USAGE, "%s is for a chat template, which --raw leaves out",
                         template_option);
    }
    if (!o->raw && (o->special || o->no_bos)) {
        return error_set(e, ERROR_USAGE, "%s needs --raw", o->special ? "--special" : "--no-bos");
    }
    const char *draft_option = o->draft_max != RUN_DRAFT_UNSET ? "--draft-max"
                               : o->model.draft != NULL        ? "--draft"
                                                               : NULL;
    if (o->model.exact && draft_option != NULL) {
        return error_set(e, ERROR_USAGE, "%s changes nothing with --exact", draft_option);
    }
    if (o->model.draft != NULL && o->draft_max == 0) {
        return error_set(e, ERROR_USAGE, "--draft changes nothing with --draft-max 0");
    }
    const char *format = run_format_given(&o->format);
    if (format != NULL && (o->tools != NULL || o->ignore_eos)) {
        return error_set(e, ERROR_USAGE, "%s with %s: %s", format,
                         o->tools != NULL ? "--tools" : "--ignore-eos",
                         o->tools != NULL ? "an answer of that form calls no tool"
                                          : "an answer of that form has an end");
    }
    return true;
}

/* Those that are for a chat in the terminal, and those that are not. */
static bool check_place(const struct run_options *o, bool is_chat, struct error *e)
{
    if (is_chat && o->raw) {
        return error_set(e, ERROR_USAGE, "--raw needs -p TEXT or text on standard input");
    }
    if (!is_chat && o->tool_command != NULL) {
        return error_set(e, ERROR_USAGE,
                         "--tool-command is for a chat in the terminal, where each call can be "
                         "allowed; one answer prints its calls");
    }
    return o->tool_timeout == 0 || o->tool_command != NULL ||
           error_set(e, ERROR_USAGE, "--tool-timeout needs --tool-command");
}

static const char *search_path(const struct cmd_env *env)
{
    for (char **variable = env->all; *variable != NULL; variable++) {
        if (strncmp(*variable, "PATH=", 5) == 0) {
            return *variable + 5;
        }
    }
    return NULL;
}

static bool open_tools(struct run *r, struct error *e)
{
    struct run_options *o = &r->options;
    o->tool_timeout = o->tool_timeout > 0 ? o->tool_timeout : TOOL_TIMEOUT_S;
    return (o->tool_command == NULL ||
            program_find(o->tool_command, search_path(r->env), r->tool_command, e) ||
            error_prefix(e, "option --tool-command")) &&
           (o->tools == NULL || run_tools_read(o->tools, &r->tools, e) ||
            error_prefix(e, "option --tools"));
}

static bool run(struct run *r, const char *model, struct error *e)
{
    bool chat = r->options.prompt == NULL && isatty(STDIN_FILENO);
    if (!check_options(&r->options, e) || !check_place(&r->options, chat, e)) {
        return false;
    }
    struct sampler_params params = sampler_params_of(&r->options);
    if (!check_sampler(&params, UINT32_MAX, e) || !open_tools(r, e) ||
        !run_format_read(&r->options.format, e) || !open_run(r, model, e)) {
        return false;
    }
    if (chat) {
        return repl_run(r, e);
    }
    return r->options.prompt != NULL ? answer_once(r, str_from(r->options.prompt), e)
                                     : answer_stdin(r, e);
}

static bool set_prompt(void *target, const char *value, struct error *e)
{
    const char **prompt = target;
    if (*prompt != NULL) {
        return error_set(e, ERROR_USAGE, "given twice");
    }
    *prompt = value;
    return true;
}

int cmd_run(const struct cmd_env *env, int argc, char **argv)
{
    static const struct options_usage usage = {
        .command = "run",
        .synopsis = "[OPTION]... [MODEL]\n[OPTION]... -p TEXT [MODEL]\n[OPTION]... [MODEL] < FILE",
        .about =
            "Chat with a model in the terminal, or answer one prompt: -p TEXT, or standard input\n"
            "when that is no terminal. The answer alone goes to standard output. MODEL is a\n"
            "file, a name in the model folder, or nothing: the default model, which is fetched\n"
            "when absent.",
        .epilog =
            "Exit codes: 0 answered; 2 wrong usage or input; 3 no such model; 4 read or write\n"
            "failed; 5 malformed model file; 6 unsupported model; 7 the context is full; 8 out of\n"
            "memory; 70 a bug in puna; 130 interrupted.",
    };
    struct run r = {.env = env, .to_terminal = isatty(STDOUT_FILENO)};
    struct run_options *o = &r.options;
    sampler_params_default(&o->sampler);
    o->model.batch = ENGINE_DEFAULT_BATCH;
    o->max_tokens = -1;
    o->draft_max = RUN_DRAFT_UNSET;
    const struct option_spec specs[] = {
        {OPTION_HEADING, .help = "Options"},
        {OPTION_CALL, "prompt", 'p', NULL, "TEXT", &o->prompt, 0, 0,
         "answer TEXT and leave; standard input is not read then", set_prompt},
        {OPTION_TEXT, "system", 0, "system-prompt", "TEXT", &o->system, 0, 0, "the system message",
         NULL},
        {OPTION_FLAG, "raw", 0, NULL, NULL, &o->raw, 0, 0,
         "continue the text itself, without a chat template", NULL},
        {OPTION_FLAG, "special", 0, NULL, NULL, &o->special, 0, 0,
         "with --raw: special tokens in the text count as such", NULL},
        {OPTION_FLAG, "no-bos", 0, NULL, NULL, &o->no_bos, 0, 0,
         "with --raw: do not put the begin-of-text token first", NULL},
        OPTIONS_CHAT(o->chat),
        {OPTION_TEXT, "tools", 0, NULL, "FILE", &o->tools, 0, 0,
         "tools that the model may call: a JSON array of them in\nOpenAI's form; without a chat "
         "each call is printed, a line\n{\"id\", \"name\", \"arguments\"}",
         NULL},
        {OPTION_TEXT, "tool-command", 0, NULL, "CMD", &o->tool_command, 0, 0,
         "a program that answers calls in a chat, which asks you\nfirst: run as CMD NAME, "
         "arguments on standard input\n(default: you type what the tool answers)",
         NULL},
        {OPTION_U32, "tool-timeout", 0, NULL, "SECONDS", &o->tool_timeout, 1, 86400,
         "that it has for an answer (default: 60)", NULL},
        OPTIONS_FORMAT(o->format),
        {OPTION_FLAG, "ignore-eos", 0, NULL, NULL, &o->ignore_eos, 0, 0,
         "never end the turn: its end tokens are forbidden", NULL},
        {OPTION_U32, "draft-max", 0, NULL, "N", &o->draft_max, 0, ENGINE_MAX_GUESSES,
         "tokens guessed beside each of the answer, from what\nfollowed the same words before; "
         "never changes the result\n(default: 7; 0: none)",
         NULL},
        {OPTION_TEXT, "draft", 0, NULL, "MODEL", &o->model.draft, 0, 0,
         "a smaller model of the same vocabulary, which guesses\nwhere those words give none; "
         "never "
         "changes the result\n(default: none)",
         NULL},
        {OPTION_FLAG, "stats", 0, NULL, NULL, &o->stats, 0, 0,
         "tokens/s and their share of the machine's limit, on\nstandard error; that limit is "
         "measured behind the answer,\nwhich takes a second or two",
         NULL},
        RUN_OPTIONS_SAMPLING(*o),
        OPTIONS_MODEL(o->model, "512"),
        OPTION_EXACT(o->model),
        OPTIONS_CACHE(o->model),
    };
    const char *model;
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, &model, 1);
    struct error e = {0};
    bool ok = run(&r, model, &e);
    int code = ok ? cmd_finish_output("run", 0) : cmd_fail("run", &e);
    if (code == 0) {
        session_keep(&r.session, r.session.pool); /* the output is out: nobody waits for this */
    }
    close_run(&r);
    return code;
}
