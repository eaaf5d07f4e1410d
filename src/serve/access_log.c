/* access_log.c - a line of the log, as words or as JSON. */
#include "serve/access_log.h"

#include "serve/api_write.h"
#include "store/secret.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SHOWN_METHOD = 32, SHOWN_PATH = 400, SHOWN_ID = 200, TIME_BYTES = 32 };

/* What the client chose, as it may be told. */
struct shown {
    char path[SHOWN_PATH], id[SHOWN_ID];
    struct str method, path_text, id_text;
};

static void format_time(int64_t time_ms, char out[TIME_BYTES])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t n = strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out + n, TIME_BYTES - n, ".%03dZ", (int)(time_ms % 1000));
}

/* Cut where a code point ends. */
static struct str cut(struct str s, size_t max)
{
    return s.n <= max ? s : (struct str){s.p, str_complete_utf8((struct str){s.p, max})};
}

/* The same in `copy` (max), without what opens the server: clients put a key into a path or an id,
 * by mistake. */
static struct str cover(struct str s, char *copy, size_t max)
{
    s = cut(s, max);
    if (s.n > 0) {
        memcpy(copy, s.p, s.n);
        secret_mask(copy, s.n);
    }
    return (struct str){copy, s.n};
}

static void show(const struct access_entry *x, struct shown *out)
{
    out->method = cut(x->method, SHOWN_METHOD);
    out->path_text = cover(x->path, out->path, SHOWN_PATH);
    out->id_text = cover(str_from(x->id), out->id, SHOWN_ID);
}

/* One word: quotes, too, would have to be told from those round it. */
static bool print_word(struct str s, struct buf *out, struct error *e)
{
    bool ok = s.n > 0 || buf_append_byte(out, '-', e);
    for (size_t i = 0; ok && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        ok = c > 0x20 && c < 0x7F && c != '%' && c != '"'
                 ? buf_append_byte(out, (char)c, e)
                 : buf_printf(out, e, "%%%02X", (unsigned)c);
    }
    return ok;
}

static bool print_text(const struct access_entry *x, const char *when, struct buf *out,
                       struct error *e)
{
    struct shown s;
    show(x, &s);
    size_t before = out->n;
    bool ok =
        buf_printf(out, e, "%s ", when) && print_word(s.method, out, e) &&
        buf_append_byte(out, ' ', e) && print_word(s.path_text, out, e) &&
        buf_printf(out, e, " %d bytes=%llu ms=%.1f peer=%s id=%.*s", x->status,
                   (unsigned long long)x->body_bytes, x->ms, x->peer, STR_ARG(s.id_text)) &&
        (x->key == NULL || buf_printf(out, e, " key=%s", x->key)) &&
        (!x->has_tokens ||
         buf_printf(out, e, " prompt_tokens=%llu cached_tokens=%llu completion_tokens=%llu",
                    (unsigned long long)x->prompt_tokens, (unsigned long long)x->cached_tokens,
                    (unsigned long long)x->completion_tokens)) &&
        buf_append_byte(out, '\n', e);
    out->n = ok ? out->n : before;
    return ok;
}

static void write_number(struct api_writer *w, const char *name, uint64_t value)
{
    api_write_raw(w, ",\"");
    api_write_raw(w, name);
    api_write_raw(w, "\":");
    api_write_int(w, (int64_t)value);
}

static void write_string(struct api_writer *w, const char *name, struct str value)
{
    api_write_raw(w, ",\"");
    api_write_raw(w, name);
    api_write_raw(w, "\":");
    api_write_text(w, value);
}

static bool print_json(const struct access_entry *x, const char *when, struct buf *out,
                       struct error *e)
{
    struct api_writer w;
    struct shown s;
    show(x, &s);
    api_writer_init(&w, out, e);
    api_write_raw(&w, "{\"time\":");
    api_write_text(&w, str_from(when));
    write_string(&w, "method", s.method);
    write_string(&w, "path", s.path_text);
    write_number(&w, "status", (uint64_t)x->status);
    write_number(&w, "bytes", x->body_bytes);
    api_write_raw(&w, ",\"ms\":");
    api_write_float(&w, (float)x->ms);
    write_string(&w, "peer", str_from(x->peer));
    write_string(&w, "id", s.id_text);
    if (x->key != NULL) {
        write_string(&w, "key", str_from(x->key));
    }
    if (x->has_tokens) {
        write_number(&w, "prompt_tokens", x->prompt_tokens);
        write_number(&w, "cached_tokens", x->cached_tokens);
        write_number(&w, "completion_tokens", x->completion_tokens);
    }
    api_write_raw(&w, "}\n");
    return api_writer_end(&w);
}

bool access_log_print(enum access_log_form form, const struct access_entry *entry, struct buf *out,
                      struct error *e)
{
    char when[TIME_BYTES];
    format_time(entry->time_ms, when);
    return form == ACCESS_LOG_JSON ? print_json(entry, when, out, e)
                                   : print_text(entry, when, out, e);
}
