/* print.c - escapes for what a terminal must not get, and the repair of what JSON cannot hold. */
#include "cmd/print.h"

#include "base/buf.h"

#include <inttypes.h>

/* Control characters of ASCII and of Latin-1, line and paragraph separators, and the invisible
 * marks that turn the direction of writing or have no width: what could make a terminal or a reader
 * see something else than what is there. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0x061C ||
           c == 0xFEFF || (c >= 0xE0000 && c <= 0xE007F);
}

/* The letter of a two-character escape, 0 where there is none. */
static char escape_letter(uint32_t c, bool quoted)
{
    switch (c) {
    case '\n':
        return 'n';
    case '\t':
        return 't';
    case '\r':
        return 'r';
    case '\\':
        return '\\';
    case '"':
        return quoted ? '"' : '\0';
    default:
        return '\0';
    }
}

static bool is_plain(uint32_t c, bool quoted)
{
    return !is_hidden(c) && c != '\\' && (c != '"' || !quoted);
}

/* Length of what s begins with that needs no escape, at most *left code points of it, which are
 * counted off. */
static size_t plain_run(struct str s, bool quoted, size_t *left)
{
    size_t n = 0;
    for (; *left > 0 && n < s.n; (*left)--) {
        uint32_t c = 0;
        size_t length = str_decode_utf8(str_skip(s, n), &c);
        if (length == 0 || !is_plain(c, quoted)) {
            break;
        }
        n += length;
    }
    return n;
}

/* Writes the escape of what s begins with; returns its length in s. */
static size_t print_escape(FILE *f, struct str s, bool quoted)
{
    uint32_t c = 0;
    size_t length = str_decode_utf8(s, &c);
    char letter = length > 0 ? escape_letter(c, quoted) : '\0';
    if (letter != '\0') {
        fprintf(f, "\\%c", letter);
    } else if (length <= 1) { /* ASCII, or no UTF-8 */
        fprintf(f, "\\x%02x", (unsigned char)s.p[0]);
    } else {
        fprintf(f, "\\u{%" PRIx32 "}", c);
    }
    return length > 0 ? length : 1;
}

/* Runs that need no escape are written at once, for stderr has no buffer. */
static void print_text(FILE *f, struct str s, size_t max, bool quoted)
{
    while (s.n > 0 && max > 0) {
        size_t n = plain_run(s, quoted, &max);
        if (n > 0) {
            fwrite(s.p, 1, n, f);
        } else {
            n = print_escape(f, s, quoted);
            max--;
        }
        s = str_skip(s, n);
    }
    if (s.n > 0) {
        fputs("...", f);
    }
}

void print_escaped(FILE *f, struct str s, size_t max_code_points)
{
    print_text(f, s, max_code_points, false);
}

void print_warning_to(FILE *f, const char *text)
{
    flockfile(f);
    fputs("puna: warning: ", f);
    print_escaped(f, str_from(text), SIZE_MAX);
    putc('\n', f);
    funlockfile(f);
}

void print_warning(const char *text)
{
    print_warning_to(stderr, text);
}

void print_quoted(FILE *f, struct str s, size_t max_code_points)
{
    putc('"', f);
    print_text(f, s, max_code_points, true);
    putc('"', f);
}

/* --- JSON */

/* Length of the maximal ill-formed part (Unicode 3.9) that text begins with. */
static size_t ill_formed_part(struct str text)
{
    size_t n = 1;
    while (n < text.n && n < 3 && str_complete_utf8((struct str){text.p, n + 1}) == 0) {
        n++;
    }
    return n;
}

/* Takes the next code point off *rest, bytes and number to *c; U+FFFD for an ill-formed part. */
static struct str next_character(struct str *rest, uint32_t *c)
{
    size_t n = str_decode_utf8(*rest, c);
    struct str bytes = {rest->p, n};
    if (n == 0) {
        n = ill_formed_part(*rest);
        *c = 0xFFFD;
        bytes = STR("\xEF\xBF\xBD");
    }
    *rest = str_skip(*rest, n);
    return bytes;
}

static void print_json_escape(FILE *f, uint32_t c)
{
    if (c >= 0x10000) {
        fprintf(f, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xD7C0 + (c >> 10), 0xDC00 + (c & 0x3FF));
    } else {
        fprintf(f, "\\u%04" PRIx32, c);
    }
}

void print_json_text(FILE *f, struct str s)
{
    putc('"', f);
    while (s.n > 0) {
        uint32_t c = 0;
        struct str bytes = next_character(&s, &c);
        char letter = escape_letter(c, true);
        if (letter != '\0') {
            fprintf(f, "\\%c", letter);
        } else if (is_hidden(c)) {
            print_json_escape(f, c);
        } else {
            fwrite(bytes.p, 1, bytes.n, f);
        }
    }
    putc('"', f);
}

void print_json_line(FILE *f, struct str json)
{
    bool in_string = false, is_escaped = false;
    size_t n = 0; /* of a run that is written at once */
    while (n < json.n) {
        uint32_t c = 0xFFFD;
        size_t length = str_decode_utf8(str_skip(json, n), &c);
        bool is_shown = length > 0 && !is_hidden(c);
        length = length > 0 ? length : 1;
        in_string ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        if (is_shown) {
            n += length;
            continue;
        }
        fwrite(json.p, 1, n, f);
        if (in_string) {
            print_json_escape(f, c);
        } else {
            putc(' ', f);
        }
        json = str_skip(json, n + length);
        n = 0;
    }
    fwrite(json.p, 1, n, f);
}

json_t *print_json_string(struct str s)
{
    struct buf b;
    buf_init(&b, SIZE_MAX / 2);
    bool ok = true;
    while (ok && s.n > 0) {
        uint32_t c = 0;
        ok = buf_append(&b, next_character(&s, &c), NULL);
    }
    json_t *string = ok ? json_stringn(b.n > 0 ? b.data : "", b.n) : NULL;
    buf_finish(&b);
    return string;
}

bool print_json_document(json_t *root, size_t flags, struct error *e)
{
    bool ok = root != NULL && json_dumpf(root, stdout, flags | JSON_ENSURE_ASCII) == 0;
    json_decref(root);
    putchar('\n');
    return ok || ferror(stdout) || error_set(e, ERROR_MEMORY, "out of memory: JSON document");
}
