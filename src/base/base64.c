/* base64.c - groups of three bytes are groups of four digits. */
#include "base/base64.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char digits[][65] = {
    [BASE64_PADDED] = LETTERS "+/",
    [BASE64_URL] = LETTERS "-_",
};

/* One to three bytes; digits that would hold none of their bits are left out, or a '='. */
static size_t write_group(const uint8_t *bytes, size_t n, enum base64_form form, char out[4])
{
    uint32_t group = (uint32_t)bytes[0] << 16;
    group |= n > 1 ? (uint32_t)bytes[1] << 8 : 0;
    group |= n > 2 ? (uint32_t)bytes[2] : 0;
    for (unsigned i = 0; i < 4; i++) {
        out[i] = i <= n ? digits[form][group >> (18 - 6 * i) & 63] : '=';
    }
    return form == BASE64_PADDED ? 4 : n + 1;
}

bool base64_append(const void *bytes, size_t n_bytes, enum base64_form form, struct buf *out,
                   struct error *e)
{
    const uint8_t *from = bytes;
    if (!buf_reserve(out, 4 * ((n_bytes + 2) / 3), e)) {
        return false;
    }
    for (size_t i = 0; i < n_bytes; i += 3) {
        char four[4];
        size_t n = n_bytes - i < 3 ? n_bytes - i : 3;
        buf_append(out, (struct str){four, write_group(from + i, n, form, four)}, NULL);
    }
    return true;
}

/* 64: it is no digit. */
static unsigned value_of(char c)
{
    const char *at = c != '\0' ? strchr(digits[BASE64_URL], c) : NULL;
    return at != NULL ? (unsigned)(at - digits[BASE64_URL]) : 64;
}

bool base64_is_url(struct str text)
{
    size_t n_odd = text.n % 4;
    if (text.n == 0 || n_odd == 1) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (value_of(text.p[i]) == 64) {
            return false;
        }
    }
    /* bits of the last digit that are of no byte are 0: a text has one spelling */
    unsigned unused = n_odd == 2 ? 15 : n_odd == 3 ? 3 : 0;
    return (value_of(text.p[text.n - 1]) & unused) == 0;
}

int base64_url_byte(struct str text, size_t i)
{
    size_t digit = i / 3 * 4 + i % 3;
    if (digit + 1 >= text.n) {
        return -1;
    }
    unsigned two = value_of(text.p[digit]) << 6 | value_of(text.p[digit + 1]);
    return (int)(two >> (4 - 2 * (i % 3)) & 0xFF);
}

bool base64_decode_url(struct str text, struct buf *out, struct error *e)
{
    if (!buf_reserve(out, text.n / 4 * 3 + 2, e)) {
        return false;
    }
    uint32_t group = 0;
    for (size_t i = 0; i < text.n; i++) {
        group = group << 6 | value_of(text.p[i]);
        if (i % 4 > 0) { /* the digits up to here have one byte more than before */
            unsigned n_bits = 6 - 2 * (unsigned)(i % 4);
            buf_append_byte(out, (char)(group >> n_bits & 0xFF), NULL);
        }
    }
    return true;
}
