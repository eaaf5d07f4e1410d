/* api_write.c - JSON text into a buffer. */
#include "serve/api_write.h"

#include "base/base64.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void api_writer_init(struct api_writer *w, struct buf *out, struct error *e)
{
    *w = (struct api_writer){.out = out, .e = e, .n_before = out->n, .ok = true};
}

bool api_writer_end(struct api_writer *w)
{
    if (!w->ok) {
        w->out->n = w->n_before;
    }
    return w->ok;
}

static void append(struct api_writer *w, struct str s)
{
    w->ok = w->ok && buf_append(w->out, s, w->e);
}

void api_write_raw(struct api_writer *w, const char *json)
{
    append(w, str_from(json));
}

/* How many bytes of malformed text one U+FFFD stands for: the longest beginning of a well-formed
 * sequence, at least one byte (Unicode 3.9, table 3-7). */
static size_t ill_formed_length(struct str s)
{
    for (size_t n = s.n < 3 ? s.n : 3; n > 1; n--) {
        if (str_complete_utf8((struct str){s.p, n}) == 0) {
            return n;
        }
    }
    return 1;
}

static bool needs_escape(uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\' || c == 0x7F || c == 0x2028 || c == 0x2029;
}

static void write_escape(struct api_writer *w, uint32_t c)
{
    static const char letters[] = "\b\t\n\f\r\"\\";
    static const char names[] = "btnfr\"\\";
    const char *found = c != 0 && c < 0x80 ? strchr(letters, (int)c) : NULL;
    char text[8];
    if (found != NULL) {
        snprintf(text, sizeof text, "\\%c", names[found - letters]);
    } else {
        snprintf(text, sizeof text, "\\u%04x", (unsigned)(c & 0xFFFF));
    }
    append(w, str_from(text));
}

void api_write_escaped(struct api_writer *w, struct str s)
{
    size_t start = 0; /* of the bytes that go out as they are */
    size_t i = 0;
    while (i < s.n && w->ok) {
        uint32_t c = 0;
        struct str rest = str_skip(s, i);
        size_t length = str_decode_utf8(rest, &c);
        if (length > 0 && !needs_escape(c)) {
            i += length;
            continue;
        }
        append(w, (struct str){s.p + start, i - start});
        if (length > 0) {
            write_escape(w, c);
            i += length;
        } else {
            append(w, STR("\xEF\xBF\xBD"));
            i += ill_formed_length(rest);
        }
        start = i;
    }
    if (start < s.n) {
        append(w, str_skip(s, start));
    }
}

void api_write_text(struct api_writer *w, struct str s)
{
    append(w, STR("\""));
    api_write_escaped(w, s);
    append(w, STR("\""));
}

void api_write_text_or_null(struct api_writer *w, const char *text)
{
    if (text == NULL) {
        api_write_raw(w, "null");
    } else {
        api_write_text(w, str_from(text));
    }
}

void api_write_int(struct api_writer *w, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    append(w, str_from(text));
}

void api_write_bool(struct api_writer *w, bool value)
{
    api_write_raw(w, value ? "true" : "false");
}

static bool check_finite(struct api_writer *w, double value)
{
    bool ok = isfinite(value);
    w->ok =
        w->ok && (ok || error_set(w->e, ERROR_INTERNAL, "a number of the answer is not finite"));
    return ok;
}

void api_write_float(struct api_writer *w, float value)
{
    if (!check_finite(w, (double)value)) {
        return;
    }
    char text[32];
    int digits = 6;
    do {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
    } while (digits++ < 9 && strtof(text, NULL) != value);
    append(w, str_from(value == 0.0F ? "0" : text));
}

void api_write_double(struct api_writer *w, double value)
{
    if (!check_finite(w, value)) {
        return;
    }
    char text[32];
    int digits = 15;
    do {
        snprintf(text, sizeof text, "%.*g", digits, value);
    } while (digits++ < 17 && strtod(text, NULL) != value);
    append(w, str_from(value == 0.0 ? "0" : text));
}

void api_write_byte_list(struct api_writer *w, struct str bytes)
{
    append(w, STR("["));
    for (size_t i = 0; i < bytes.n; i++) {
        append(w, i > 0 ? STR(",") : STR(""));
        api_write_int(w, (unsigned char)bytes.p[i]);
    }
    append(w, STR("]"));
}

void api_write_base64(struct api_writer *w, const uint8_t *bytes, size_t n_bytes)
{
    w->ok = w->ok && base64_append(bytes, n_bytes, BASE64_PADDED, w->out, w->e);
}
