/* fuzz_api_service.c - bodies of requests to the whole service: server, tokenizer, chat template,
 * content filter, engine thread and a small model of random weights. The first byte says which
 * address, the second after how many bytes of the answer the client leaves (0: not before its end);
 * the rest is the body. What is answered is JSON, or events that each are, and no request fails for
 * a reason of ours. */
#include "base/json_tree.h"
#include "base/mem.h"
#include "guard/words.h"
#include "serve/service.h"

#include "model_file.h"
#include "require.h"

#include <jansson.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD_BYTES = 2, N_SPECIAL = 5, N_CTX = 128, MAX_ANSWER = 64 << 20 };

static const char *const addresses[] = {
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings",     "/v1/tokenize",
    "/v1/detokenize",       "/apply-template", "/v1/keys/ephemeral",
};
enum { N_ADDRESSES = sizeof addresses / sizeof addresses[0] };

static struct world {
    char host[64];
    struct model_file file;
    struct tokenizer *tokenizer;
    struct pool *pool;
    struct model model;
    struct token_trie *trie;
    struct worker *worker;
    struct words *words;
    struct guard guard;
    struct chat_template chat;
    struct http_server *server;
    struct service service;
    pthread_t thread;
} world;

/* --- the server, which serves until the process ends */

/* Byte tokens, a few pieces and ChatML's control tokens; keys as gguf_text.h writes them. Returns
 * how many tokens. */
static uint32_t write_vocabulary(struct buf *keys)
{
    static const char *const special[N_SPECIAL] = {"<unk>", "<s>", "</s>", "<|im_start|>",
                                                   "<|im_end|>"};
    static const char *const pieces[] = {"\xE2\x96\x81", "a", "b", "ab", "\xE2\x96\x81\x61"};
    enum { N_PIECES = sizeof pieces / sizeof pieces[0], N = N_SPECIAL + 256 + N_PIECES };
    bool ok = buf_printf(keys, NULL,
                         " s:tokenizer.ggml.model 4:8 s:llama s:tokenizer.ggml.eos_token_id 4:4 4:4"
                         " s:tokenizer.ggml.tokens 4:9 4:8 8:%d",
                         N);
    for (int i = 0; i < N; i++) {
        ok = ok &&
             (i < N_SPECIAL         ? buf_printf(keys, NULL, " s:%s", special[i])
              : i < N_SPECIAL + 256 ? buf_printf(keys, NULL, " s:<0x%02X>", i - N_SPECIAL)
                                    : buf_printf(keys, NULL, " s:%s", pieces[i - N_SPECIAL - 256]));
    }
    ok = ok && buf_printf(keys, NULL, " s:tokenizer.ggml.token_type 4:9 4:5 8:%d", N);
    for (int i = 0; i < N; i++) {
        int kind = i == 0 ? 2 : i < N_SPECIAL ? 3 : i < N_SPECIAL + 256 ? 6 : 1;
        ok = ok && buf_printf(keys, NULL, " 4:%d", kind);
    }
    ok = ok && buf_printf(keys, NULL, " s:tokenizer.ggml.scores 4:9 4:6 8:%d", N);
    for (int i = 0; i < N; i++) {
        ok = ok && buf_printf(keys, NULL, " f4:-%d", i);
    }
    require(ok && buf_append_byte(keys, '\0', NULL));
    return N;
}

static void load_model(struct world *w)
{
    struct buf keys;
    buf_init(&keys, 1 << 16);
    uint32_t n_vocab = write_vocabulary(&keys);
    const struct model_spec spec = {
        .keys = keys.data,
        .n_keys = 5,
        .without = "output.weight",
        .tensor = {"token_embd.weight", MODEL_FILE_EMBD, n_vocab, QUANT_F32}};
    model_file_open(&w->file, &spec, NULL);
    buf_finish(&keys);
    require(w->file.gguf != NULL);
    w->tokenizer = tokenizer_create(w->file.gguf, NULL);
    w->pool = pool_create(1, NULL);
    require(w->tokenizer != NULL && w->pool != NULL);
    require(model_load(&w->model, w->file.gguf, kern_get(KERN_REF, NULL),
                       &(struct model_load_options){.exact = false}, w->pool, NULL));
    require(chat_template_init(&w->chat, w->file.gguf, w->tokenizer, NULL, NULL));
}

static void *serve(void *argument)
{
    const struct world *w = argument;
    require(http_server_run(w->server, NULL));
    return NULL;
}

static void start(struct world *w)
{
    const char *hosts[] = {w->host};
    struct http_options o;
    json_tree_init();
    load_model(w);
    service_init(&w->service);
    w->service.model.names[w->service.model.n_names++] = "m";
    w->words = words_parse(STR("ab\nbad word\n"), NULL);
    require(w->words != NULL);
    w->guard = (struct guard){.judges = {words_judge(w->words)}, .n_judges = 1, .blocks = true};
    w->trie = token_trie_create(w->tokenizer, NULL);
    require(w->trie != NULL);
    const struct worker_options options = {
        .engine = {.n_ctx = N_CTX,
                   .max_sequences = 4,
                   .max_guesses = 3,
                   .n_choices = tokenizer_info(w->tokenizer)->n_tokens,
                   .prefix_pages = UINT32_MAX},
        .trie = w->trie,
        .metrics = &w->service.metrics};
    w->worker = worker_create(&w->model, w->pool, &options, NULL);
    snprintf(w->host, sizeof w->host, "unix:@puna-fuzz-service-%d", (int)getpid());
    http_options_init(&o);
    o.hosts = hosts;
    o.on_head = service_on_head;
    o.on_request = service_on_request;
    o.on_answer = service_on_answer;
    o.on_end = service_on_end;
    o.context = &w->service;
    w->server = http_server_create(&o, NULL);
    require(w->worker != NULL && w->server != NULL);
    struct service_limits limits = {.body_bytes = o.limits.body_bytes,
                                    .answer_bytes = MAX_ANSWER,
                                    .stream_bytes = o.limits.output_bytes};
    api_limits_default(&limits.api);
    const struct service_engine engine = {.server = w->server,
                                          .worker = w->worker,
                                          .model = &w->model,
                                          .tokenizer = w->tokenizer,
                                          .chat = &w->chat,
                                          .guard = &w->guard,
                                          .n_ctx = N_CTX,
                                          .limits = limits,
                                          .seed = 1};
    require(service_start(&w->service, &engine, NULL));
    require(pthread_create(&w->thread, NULL, serve, w) == 0);
}

/* --- the client */

static int dial(const struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *name = w->host + 6; /* behind "unix:@" */
    size_t n = strlen(name);
    memcpy(a.sun_path + 1, name, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    require(fd >= 0 && connect(fd, (const struct sockaddr *)&a, size) == 0);
    return fd;
}

static void send_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* it was refused by its head */
        }
        s = str_skip(s, (size_t)n);
    }
}

/* False when the client left before the end. */
static bool receive(int fd, size_t most, struct buf *out)
{
    char piece[4096];
    for (;;) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) {
            return n == 0;
        }
        require(buf_append(out, (struct str){piece, (size_t)n}, NULL));
        if (most > 0 && out->n >= most) {
            return false;
        }
    }
}

/* --- the answer */

static void check_json(struct str text)
{
    json_error_t why;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    require(root != NULL ? json_is_object(root)
                         : json_error_code(&why) == json_error_null_byte_in_key); /* not ours */
    json_decref(root);
}

/* Events and comments, the last one [DONE]. */
static void check_events(struct str text)
{
    bool is_done = false;
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        require(end != NULL && !(is_done && text.p[0] != '\n'));
        struct str line = {text.p, (size_t)(end - text.p)};
        text = str_skip(text, line.n + 1);
        if (str_eq(line, STR("data: [DONE]"))) {
            is_done = true;
        } else if (str_starts_with(line, STR("data: "))) {
            check_json(str_skip(line, 6));
        } else {
            require(line.n == 0 || line.p[0] == ':');
        }
    }
    require(is_done);
}

static void check_answer(struct str answer)
{
    require(str_starts_with(answer, STR("HTTP/1.1 ")) && answer.n > 12);
    const char *empty = memmem(answer.p, answer.n, "\r\n\r\n", 4);
    require(empty != NULL);
    struct str head = {answer.p, (size_t)(empty - answer.p)};
    struct str body = str_skip(answer, head.n + 4);
    require(answer.p[9] == '2' || answer.p[9] == '4' || memcmp(answer.p + 9, "503", 3) == 0);
    if (memmem(head.p, head.n, "text/event-stream", 17) != NULL) {
        check_events(body);
    } else {
        check_json(body);
    }
}

/* True when the answer, which is good then, came to its end. */
static bool ask(const char *address, struct str body, size_t most, struct buf *answer)
{
    char head[256];
    /* An answer to HTTP/1.0 ends with its connection, without chunks. */
    int n = snprintf(head, sizeof head, "POST %s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", address,
                     body.n);
    int fd = dial(&world);
    send_all(fd, (struct str){head, (size_t)n});
    send_all(fd, body);
    bool is_whole = receive(fd, most, answer);
    if (is_whole) {
        check_answer(buf_str(answer));
    }
    close(fd);
    return is_whole;
}

/* A service that refuses all would show nothing. */
static void require_service(void)
{
    struct buf answer;
    buf_init(&answer, MAX_ANSWER);
    require(ask("/v1/chat/completions",
                STR("{\"model\": \"m\", \"max_tokens\": 1, \"messages\": [{\"role\": \"user\", "
                    "\"content\": \"a\"}]}"),
                0, &answer));
    require(str_starts_with(buf_str(&answer), STR("HTTP/1.1 200 ")));
    buf_finish(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < HEAD_BYTES) {
        return 0;
    }
    if (world.server == NULL) {
        start(&world);
        require_service();
    }
    struct str body = {(const char *)data + HEAD_BYTES, n_bytes - HEAD_BYTES};
    struct buf answer;
    buf_init(&answer, MAX_ANSWER);
    ask(addresses[data[0] % N_ADDRESSES], body, data[1], &answer);
    buf_finish(&answer);
    return 0;
}
