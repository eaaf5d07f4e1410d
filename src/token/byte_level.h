/* byte_level.h - the alphabet of byte-level BPE vocabularies: every byte is written as one
 * printable code point, so that a vocabulary can be a text file. Printable Latin-1 bytes stand for
 * themselves; the other 68 are U+0100, U+0101, ... in order of the byte.
 * source  GPT-2's encoder, as GGUF vocabularies of model "gpt2" spell their tokens */
#ifndef TOKEN_BYTE_LEVEL_H
#define TOKEN_BYTE_LEVEL_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Writes the bytes that text stands for into out (at least text.n bytes) and their number into
 * *out_n. False, with *out_n untouched, when a character of text is not of the alphabet. */
bool byte_level_decode(struct str text, char *out, size_t *out_n);

#endif
