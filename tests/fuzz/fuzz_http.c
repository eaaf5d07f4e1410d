/* fuzz_http.c - what a client sends, to the real server: its sockets, its loop, its connections.
 * The first byte says how the rest is cut into pieces, the second how server and client behave; the
 * rest is sent, as a whole and then in pieces. Whatever it is, what comes back is one well-formed
 * answer for each exchange that the server has told of, and the cuts change nothing.
 *
 * One thread: the client is a timer of the server's own loop, so that a run is the same each
 * time. */
#include "base/buf.h"
#include "serve/http_head.h"
#include "serve/http_router.h"

#include "require.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 2, /* of an input, in front of what is sent */
    SMALL_HEAD = 2048,
    LARGE_HEAD = 64 << 10, /* no input is larger: nothing depends on what lies behind a request */
    MAX_OUTPUT = 16 << 20,
    MAX_ENDED = 4096,
    QUIET_TURNS = 4, /* of the loop, in which nothing comes: then nothing is under way */
    PIECES = 4
};

/* Of the second byte. */
enum {
    FLAG_HALF_CLOSE = 1, /* the server lets clients close their sending side */
    FLAG_ORIGINS = 2,    /* pages of one origin alone may call */
    FLAG_SMALL = 4,      /* small limits; else nothing that is sent meets one */
    FLAG_HURRY = 8,      /* the client closes its side, or all, right behind the last byte */
    FLAG_GONE = 16,      /* ... all */
};

struct ended {
    int status;
    uint64_t body_bytes;
    bool is_head; /* its answer has no body */
};

/* One connection, from its first byte to its last. */
struct talk {
    struct http_server *server;
    struct http_timer *tick;
    struct str left; /* to be sent */
    uint32_t seed;   /* of the pieces; 0: one piece */
    unsigned flags;
    int fd; /* -1: closed */
    bool is_closing;
    int n_quiet;
    struct buf in;               /* what came back */
    struct http_exchange *kept;  /* one that is answered by a later turn */
    struct http_timer *kept_for; /* until then */
    struct ended ended[MAX_ENDED];
    size_t n_ended;
};

/* --- the server's owner */

static void on_kept_closed(void *argument)
{
    struct talk *t = argument;
    t->kept = NULL;
}

static void keep(struct talk *t, struct http_exchange *x)
{
    t->kept = x;
    http_on_close(x, on_kept_closed, t);
    http_timer_start(t->kept_for, 0);
}

/* The second half of an answer, or all of it. */
static void on_kept(void *argument)
{
    struct talk *t = argument;
    struct http_exchange *x = t->kept;
    t->kept = NULL;
    if (x == NULL) {
        return;
    }
    http_on_close(x, NULL, NULL);
    if (str_eq(http_path(x), STR("/events"))) {
        http_sse_comment(x, STR("keep-alive"));
        http_sse_data(x, STR("{\"a\":\"b\"}"));
        http_sse_done(x);
    } else {
        http_reply(x, 200, "text/plain", http_body(x));
    }
}

static void take_echo(void *context, struct http_exchange *x, struct str parameter)
{
    (void)context;
    (void)parameter;
    http_reply(x, 200, "text/plain", http_body(x));
}

static void take_later(void *context, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    keep(context, x);
}

static void take_events(void *context, struct http_exchange *x, struct str parameter)
{
    (void)parameter;
    http_sse_begin(x);
    http_sse_data(x, STR("{\"first\":1}"));
    keep(context, x);
}

static void take_nothing(void *context, struct http_exchange *x, struct str parameter)
{
    (void)context;
    (void)parameter;
    http_reply(x, 204, NULL, (struct str){NULL, 0});
}

/* Tells what it was asked for; a name that is no field's value is left out. */
static void take_name(void *context, struct http_exchange *x, struct str parameter)
{
    (void)context;
    char name[64];
    int n = (int)(parameter.n < sizeof name ? parameter.n : sizeof name - 1);
    snprintf(name, sizeof name, "%.*s", n, parameter.p);
    require(parameter.n > 0);
    http_add_header(x, "X-Name", name);
    http_reply(x, 200, "text/plain", parameter);
}

static const struct http_route routes[] = {
    {"GET", "/e", take_echo, .bare = true, .prefixed = true},
    {"POST", "/e", take_echo, .bare = true, .prefixed = true},
    {"POST", "/later", take_later, .bare = true},
    {"GET", "/later", take_later, .bare = true},
    {"GET", "/events", take_events, .bare = true},
    {"GET", "/n", take_nothing, .bare = true},
    {"GET", "/m/{id}", take_name, .prefixed = true},
};
static const char *const prefixes[] = {"/v1", "/openai/v1"};

static struct http_router router_of(struct talk *t)
{
    return (struct http_router){routes, sizeof routes / sizeof routes[0], prefixes, 2, t};
}

static void on_head(void *context, struct http_exchange *x)
{
    struct http_router router = router_of(context);
    http_router_check(&router, x);
}

static void on_request(void *context, struct http_exchange *x)
{
    struct http_router router = router_of(context);
    http_router_dispatch(&router, x);
}

static void on_end(void *context, const struct http_exchange *x, const struct http_outcome *outcome)
{
    struct talk *t = context;
    struct str method = http_method(x);
    require(t->n_ended < MAX_ENDED && outcome->status >= 200 && outcome->status < 600);
    require(method.n == 0 || http_is_token(method));
    for (struct str rest = http_path(x); rest.n > 0;) {
        uint32_t c = 0;
        size_t n = str_decode_utf8(rest, &c);
        require(n > 0 && c != 0);
        rest = str_skip(rest, n);
    }
    t->ended[t->n_ended++] =
        (struct ended){outcome->status, outcome->body_bytes, str_eq(method, STR("HEAD"))};
}

/* --- the client */

static void hang_up(struct talk *t)
{
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
    }
}

/* Whether something came. */
static bool take_answers(struct talk *t)
{
    char piece[4096];
    ssize_t n = t->fd >= 0 ? recv(t->fd, piece, sizeof piece, MSG_DONTWAIT) : 0;
    if (n > 0) {
        require(buf_append(&t->in, (struct str){piece, (size_t)n}, NULL));
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(t);
    }
    return false;
}

static size_t next_piece(struct talk *t)
{
    static const size_t most[PIECES] = {1, 3, 17, 700};
    if (t->seed == 0) {
        return t->left.n;
    }
    t->seed = t->seed * 1664525u + 1013904223u;
    size_t n = 1 + (t->seed >> 8) % most[t->seed >> 30];
    return n < t->left.n ? n : t->left.n;
}

/* What the server does not take any more is lost: it has answered, and is closing. */
static void send_piece(struct talk *t)
{
    ssize_t n = send(t->fd, t->left.p, next_piece(t), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        t->left = str_skip(t->left, (size_t)n);
    } else if (n < 0 && errno != EAGAIN) {
        t->left.n = 0;
    }
    t->n_quiet = 0;
}

static void close_side(struct talk *t)
{
    t->is_closing = true;
    t->n_quiet = 0;
    if ((t->flags & FLAG_HURRY) != 0 && (t->flags & FLAG_GONE) != 0) {
        hang_up(t);
    } else {
        shutdown(t->fd, SHUT_WR);
    }
}

/* A turn of the loop. The server has nothing to do any more when some have passed in quiet. */
static void on_tick(void *argument)
{
    struct talk *t = argument;
    t->n_quiet = take_answers(t) || t->kept != NULL ? 0 : t->n_quiet + 1;
    bool in_hurry = (t->flags & FLAG_HURRY) != 0;
    if (t->fd >= 0 && t->left.n > 0 && (in_hurry || t->n_quiet >= QUIET_TURNS)) {
        send_piece(t);
    }
    if (t->fd >= 0 && t->left.n == 0 && !t->is_closing && (in_hurry || t->n_quiet >= QUIET_TURNS)) {
        close_side(t);
    }
    if (t->n_quiet >= 2 * QUIET_TURNS && (t->fd < 0 || t->is_closing)) {
        http_server_stop(t->server);
        return;
    }
    http_timer_start(t->tick, 0);
}

static int dial(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(a.sun_path + 1, name, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
    require(fd >= 0 && connect(fd, (const struct sockaddr *)&a, size) == 0);
    return fd;
}

static void run(struct talk *t, struct str bytes, uint32_t seed, unsigned flags)
{
    static const struct str origins[] = {{"https://a.example", 17}};
    char host[64];
    const char *hosts[] = {host};
    snprintf(host, sizeof host, "unix:@puna-fuzz-http-%d", (int)getpid());
    struct http_options o;
    http_options_init(&o);
    o.hosts = hosts;
    o.half_close = (flags & FLAG_HALF_CLOSE) != 0;
    o.origins = origins;
    o.n_origins = (flags & FLAG_ORIGINS) != 0;
    o.limits.head_bytes = (flags & FLAG_SMALL) != 0 ? SMALL_HEAD : LARGE_HEAD;
    o.limits.target_bytes = SMALL_HEAD / 4;
    o.limits.body_bytes = SMALL_HEAD;
    o.on_head = on_head;
    o.on_request = on_request;
    o.on_end = on_end;
    o.context = t;
    *t = (struct talk){.left = bytes, .seed = seed, .flags = flags};
    buf_init(&t->in, MAX_OUTPUT);
    t->server = http_server_create(&o, NULL);
    require(t->server != NULL);
    t->tick = http_timer_create(t->server, on_tick, t, NULL);
    t->kept_for = http_timer_create(t->server, on_kept, t, NULL);
    require(t->tick != NULL && t->kept_for != NULL);
    t->fd = dial(host + 6);
    http_timer_start(t->tick, 0);
    require(http_server_run(t->server, NULL));
    hang_up(t);
    http_timer_destroy(t->tick);
    http_timer_destroy(t->kept_for);
    http_server_destroy(t->server);
}

/* --- what came back */

/* The line without its end; false where there is none. */
static bool next_line(struct str *rest, struct str *out)
{
    const char *end = rest->n > 0 ? memmem(rest->p, rest->n, "\r\n", 2) : NULL;
    if (end == NULL) {
        return false;
    }
    *out = (struct str){rest->p, (size_t)(end - rest->p)};
    *rest = str_skip(*rest, out->n + 2);
    return true;
}

static bool is_field(struct str line, const char *name, struct str *value)
{
    size_t n = strlen(name);
    if (line.n < n + 2 || memcmp(line.p, name, n) != 0 || memcmp(line.p + n, ": ", 2) != 0) {
        return false;
    }
    *value = str_skip(line, n + 2);
    return true;
}

/* Fields that tell of the time, or of chance. */
static bool is_of_the_moment(struct str line)
{
    struct str value;
    return is_field(line, "Date", &value) || is_field(line, "openai-processing-ms", &value) ||
           (is_field(line, "x-request-id", &value) && str_starts_with(value, STR("req_")));
}

static uint64_t number(struct str digits, int base)
{
    uint64_t n = 0;
    require(digits.n > 0 && digits.n < 10);
    for (size_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : base;
        require(d < base);
        n = n * (uint64_t)base + (uint64_t)d;
    }
    return n;
}

static void take_bytes(struct str *rest, uint64_t n, struct buf *out)
{
    require(n <= rest->n && buf_append(out, (struct str){rest->p, (size_t)n}, NULL));
    *rest = str_skip(*rest, (size_t)n);
}

static uint64_t take_chunks(struct str *rest, struct buf *out)
{
    uint64_t n = 1, all = 0;
    struct str line;
    while (n > 0) {
        require(next_line(rest, &line));
        n = number(line, 16);
        take_bytes(rest, n, out);
        all += n;
        require(next_line(rest, &line) && line.n == 0);
    }
    return all;
}

/* Appends what the cuts must not change: status, fields and body. */
static void take_answer(struct str *rest, const struct ended *told, struct buf *out)
{
    struct str line, value, length = {NULL, 0};
    bool is_chunked = false;
    char status[16];
    snprintf(status, sizeof status, "HTTP/1.1 %d ", told->status);
    while (str_starts_with(*rest, STR("HTTP/1.1 100 Continue\r\n\r\n"))) {
        *rest = str_skip(*rest, 25);
    }
    require(next_line(rest, &line) && str_starts_with(line, str_from(status)));
    do {
        require(line.n == 0 || memchr(line.p, ':', line.n) != NULL || line.p == rest->p ||
                str_starts_with(line, STR("HTTP/1.1 ")));
        if (!is_of_the_moment(line)) {
            require(buf_append(out, line, NULL) && buf_append(out, STR("\n"), NULL));
        }
        length = is_field(line, "Content-Length", &value) ? value : length;
        is_chunked = is_chunked || is_field(line, "Transfer-Encoding", &value);
    } while (line.n > 0 && next_line(rest, &line));
    require(line.n == 0 && !(is_chunked && length.n > 0));
    if (told->is_head || told->status == 204) {
        require(told->body_bytes == 0);
    } else if (is_chunked) {
        require(take_chunks(rest, out) == told->body_bytes);
    } else {
        require(length.n == 0 || number(length, 10) == told->body_bytes);
        take_bytes(rest, told->body_bytes, out);
    }
}

/* All that the server says it has answered came, and no more. A client that closes too soon may
 * miss the end. */
static void check_answers(struct talk *t, struct buf *out)
{
    struct str rest = buf_str(&t->in);
    buf_init(out, MAX_OUTPUT);
    for (size_t i = 0; i < t->n_ended; i++) {
        if (t->ended[i].status == 499) {
            require(i + 1 == t->n_ended);
            return;
        }
        take_answer(&rest, &t->ended[i], out);
    }
    require(rest.n == 0 || str_eq(rest, STR("HTTP/1.1 100 Continue\r\n\r\n")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static struct talk t;
    struct buf whole, cut;
    if (n_bytes < HEAD_BYTES) {
        return 0;
    }
    struct str bytes = {(const char *)data + HEAD_BYTES, n_bytes - HEAD_BYTES};
    unsigned flags = data[1];
    run(&t, bytes, 0, flags);
    if ((flags & FLAG_HURRY) == 0) {
        check_answers(&t, &whole);
        buf_finish(&t.in);
        run(&t, bytes, data[0] + 1u, flags);
        check_answers(&t, &cut);
        require((flags & FLAG_SMALL) != 0 || str_eq(buf_str(&whole), buf_str(&cut)));
        buf_finish(&whole);
        buf_finish(&cut);
    }
    buf_finish(&t.in);
    return 0;
}
