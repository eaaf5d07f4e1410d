/* secret.h - the secrets of API keys: made at random, told once, kept as SHA-256 alone.
 *
 * "sk-puna-3f2a90c41b7e-<64 hexadecimal digits>": a prefix that says what it opens, the id, which
 * is public and names the key everywhere, and 256 random bits. A plain digest is enough for those:
 * what makes passwords slow to guess is for texts that people choose. Pure but for the random
 * numbers, any thread. */
#ifndef STORE_SECRET_H
#define STORE_SECRET_H

#include "base/error.h"
#include "base/str.h"

enum {
    SECRET_ID_DIGITS = 12, /* 48 random bits, too: no two keys have the same one */
    SECRET_ID_BYTES = SECRET_ID_DIGITS + 1,
    SECRET_PREFIX_BYTES = 8, /* "sk-puna-", "ek-puna-" */
    SECRET_RANDOM_DIGITS = 64,
    SECRET_CHARS = SECRET_PREFIX_BYTES + SECRET_ID_DIGITS + 1 + SECRET_RANDOM_DIGITS,
    SECRET_BYTES = SECRET_CHARS + 1,
    SECRET_HASH_BYTES = 32
};

enum secret_kind {
    SECRET_OF_STORE,   /* sk-: a key that somebody keeps */
    SECRET_OF_MINUTES, /* ek-: ephemeral, of a page in a browser */
    SECRET_KIND_COUNT
};

struct secret_hash {
    uint8_t bytes[SECRET_HASH_BYTES];
};

/* Random digits, 4 bits each, and a NUL behind them; n is even and at most SECRET_RANDOM_DIGITS.
 * ERROR_IO when there are no random numbers. */
bool secret_make_digits(char *out, size_t n, struct error *e);

/* A new id. ERROR_IO as above. */
bool secret_make_id(char out[SECRET_ID_BYTES], struct error *e);

/* A new secret of the key with that id. ERROR_IO as above. */
bool secret_make(enum secret_kind kind, const char id[SECRET_ID_BYTES], char out[SECRET_BYTES],
                 struct error *e);

/* Overwrites one that is not needed any more. */
void secret_forget(char secret[SECRET_BYTES]);

/* Whether it is written as secrets are; then its kind and id. */
bool secret_read(struct str text, enum secret_kind *out_kind, char out_id[SECRET_ID_BYTES]);

/* Puts '*' in place of every digit of the random part of whatever in text is written as secrets
 * are, or as the beginning of one. */
void secret_mask(char *text, size_t n);

/* Whether s is an id. */
bool secret_is_id(struct str s);

/* False when the library has no memory for it: then nobody is let in. */
bool secret_digest(struct str text, struct secret_hash *out);

/* In the same time, wherever they differ. */
bool secret_hash_eq(const struct secret_hash *a, const struct secret_hash *b);

#endif
