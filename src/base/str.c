/* str.c - UTF-8 decoding and encoding, RFC 3629. */
#include "base/str.h"

/* Length that a lead byte announces, 0 when no sequence starts with it. */
static size_t sequence_length(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return 2;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        return 3;
    }
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* RFC 3629, table of section 4: the second byte's range is narrower after four of the leads. */
static bool continuation_fits(const uint8_t *b, size_t i)
{
    if ((b[i] & 0xC0) != 0x80) {
        return false;
    }
    if (i > 1) {
        return true;
    }
    return !((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F) ||
             (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] > 0x8F));
}

size_t str_decode_utf8(struct str s, uint32_t *code_point)
{
    const uint8_t *b = (const uint8_t *)s.p;
    size_t length = sequence_length(b[0]);
    if (length == 0 || s.n < length) {
        return 0;
    }
    if (length == 1) {
        *code_point = b[0];
        return 1;
    }
    uint32_t value = b[0] & (0x7F >> length);
    for (size_t i = 1; i < length; i++) {
        if (!continuation_fits(b, i)) {
            return 0;
        }
        value = value << 6 | (b[i] & 0x3F);
    }
    *code_point = value;
    return length;
}

bool str_is_utf8(struct str s)
{
    uint32_t c;
    for (size_t n; s.n > 0; s = str_skip(s, n)) {
        n = str_decode_utf8(s, &c);
        if (n == 0) {
            return false;
        }
    }
    return true;
}

size_t str_encode_utf8(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    size_t length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3F));
        code_point >>= 6;
    }
    out[0] = (char)(lead[length] | code_point);
    return length;
}

size_t str_complete_utf8(struct str s)
{
    const uint8_t *b = (const uint8_t *)s.p;
    for (size_t back = 1; back <= 3 && back <= s.n; back++) {
        const uint8_t *lead = b + s.n - back;
        if ((*lead & 0xC0) == 0x80) {
            continue;
        }
        if (sequence_length(*lead) <= back) {
            return s.n;
        }
        for (size_t i = 1; i < back; i++) {
            if (!continuation_fits(lead, i)) {
                return s.n;
            }
        }
        return s.n - back;
    }
    return s.n;
}

struct str str_shown(struct str s)
{
    if (s.n > STR_SHOWN_BYTES) {
        s.n = STR_SHOWN_BYTES;
        s.n = str_complete_utf8(s);
    }
    return s;
}
