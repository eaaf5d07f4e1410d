/* print.c - escapes for what a terminal must not get. */
#include "cmd/print.h"

#include <inttypes.h>

/* Control characters of ASCII and of Latin-1, line and paragraph separators, and the invisible marks
 * that turn the direction of writing or have no width: what could make a terminal or a reader see
 * something else than what is there. */
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

static void print_code_point(FILE *f, struct str bytes, uint32_t c, bool quoted)
{
    char letter = escape_letter(c, quoted);
    if (letter != '\0') {
        fprintf(f, "\\%c", letter);
    } else if (c < 0x80 && is_hidden(c)) {
        fprintf(f, "\\x%02" PRIx32, c);
    } else if (is_hidden(c)) {
        fprintf(f, "\\u{%" PRIx32 "}", c);
    } else {
        fwrite(bytes.p, 1, bytes.n, f);
    }
}

static void print_text(FILE *f, struct str s, size_t max, bool quoted)
{
    for (size_t n = 0; s.n > 0; n++) {
        if (n == max) {
            fputs("...", f);
            return;
        }
        uint32_t c = 0;
        size_t length = str_decode_utf8(s, &c);
        if (length == 0) {
            fprintf(f, "\\x%02x", (unsigned char)s.p[0]);
            length = 1;
        } else {
            print_code_point(f, (struct str){s.p, length}, c, quoted);
        }
        s = str_skip(s, length);
    }
}

void print_escaped(FILE *f, struct str s, size_t max_code_points)
{
    print_text(f, s, max_code_points, false);
}

void print_quoted(FILE *f, struct str s, size_t max_code_points)
{
    putc('"', f);
    print_text(f, s, max_code_points, true);
    putc('"', f);
}
