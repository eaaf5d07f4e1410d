/* byte_level.c - code points of byte-level vocabularies back to bytes. */
#include "token/byte_level.h"

enum { FIRST_REMAPPED = 0x100, N_REMAPPED = 68 };

static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/* The remapped bytes in order are 0x00-0x20, 0x7F-0xA0, 0xAD. */
static char remapped_byte(uint32_t index)
{
    return (char)(index <= 0x20 ? index : index < N_REMAPPED - 1 ? index - 0x21 + 0x7F : 0xAD);
}

bool byte_level_decode(struct str text, char *out, size_t *out_n)
{
    size_t n = 0;
    while (text.n > 0) {
        uint32_t c = 0;
        size_t length = str_decode_utf8(text, &c);
        if (length == 0) {
            return false;
        }
        if (stands_for_itself(c)) {
            out[n++] = (char)c;
        } else if (c >= FIRST_REMAPPED && c < FIRST_REMAPPED + N_REMAPPED) {
            out[n++] = remapped_byte(c - FIRST_REMAPPED);
        } else {
            return false;
        }
        text = str_skip(text, length);
    }
    *out_n = n;
    return true;
}
