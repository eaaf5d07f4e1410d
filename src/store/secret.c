/* secret.c - random digits of the kernel, and OpenSSL's digest of them. */
#include "store/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <stdio.h>
#include <sys/random.h>

static const char *const prefixes[SECRET_KIND_COUNT] = {
    [SECRET_OF_STORE] = "sk-puna-", [SECRET_OF_MINUTES] = "ek-puna-"};

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* RAND_bytes() would be no better, and OpenSSL 3.0 ends the program there when it began without
 * memory. */
bool secret_make_digits(char *out, size_t n, struct error *e)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[SECRET_RANDOM_DIGITS / 2];
    if (getrandom(random, n / 2, 0) != (ssize_t)(n / 2)) {
        return error_set(e, ERROR_IO, "no random numbers");
    }
    for (size_t i = 0; i < n / 2; i++) {
        out[2 * i] = digits[random[i] >> 4];
        out[2 * i + 1] = digits[random[i] & 15];
    }
    out[n] = '\0';
    OPENSSL_cleanse(random, sizeof random);
    return true;
}

bool secret_make_id(char out[SECRET_ID_BYTES], struct error *e)
{
    return secret_make_digits(out, SECRET_ID_DIGITS, e);
}

bool secret_make(enum secret_kind kind, const char id[SECRET_ID_BYTES], char out[SECRET_BYTES],
                 struct error *e)
{
    int n = snprintf(out, SECRET_BYTES, "%s%s-", prefixes[kind], id);
    return secret_make_digits(out + n, SECRET_RANDOM_DIGITS, e);
}

void secret_forget(char secret[SECRET_BYTES])
{
    OPENSSL_cleanse(secret, SECRET_BYTES);
}

bool secret_is_id(struct str s)
{
    return s.n == SECRET_ID_DIGITS && is_hex(s);
}

bool secret_read(struct str text, enum secret_kind *out_kind, char out_id[SECRET_ID_BYTES])
{
    int kind = 0;
    while (kind < SECRET_KIND_COUNT && !str_starts_with(text, str_from(prefixes[kind]))) {
        kind++;
    }
    if (kind == SECRET_KIND_COUNT || text.n != SECRET_CHARS) {
        return false;
    }
    struct str id = {text.p + SECRET_PREFIX_BYTES, SECRET_ID_DIGITS};
    struct str rest = str_skip(text, SECRET_PREFIX_BYTES + SECRET_ID_DIGITS);
    if (!is_hex(id) || rest.p[0] != '-' || !is_hex(str_skip(rest, 1))) {
        return false;
    }
    *out_kind = (enum secret_kind)kind;
    memcpy(out_id, id.p, id.n);
    out_id[id.n] = '\0';
    return true;
}

void secret_mask(char *text, size_t n)
{
    enum { PUBLIC_CHARS = SECRET_PREFIX_BYTES + SECRET_ID_DIGITS + 1 };
    for (size_t i = 0; i + PUBLIC_CHARS <= n; i++) {
        struct str s = {text + i, PUBLIC_CHARS};
        bool begins = false;
        for (int kind = 0; kind < SECRET_KIND_COUNT; kind++) {
            begins = begins || str_starts_with(s, str_from(prefixes[kind]));
        }
        if (!begins || s.p[PUBLIC_CHARS - 1] != '-' ||
            !is_hex((struct str){s.p + SECRET_PREFIX_BYTES, SECRET_ID_DIGITS})) {
            continue;
        }
        for (i += PUBLIC_CHARS; i < n && is_hex((struct str){text + i, 1}); i++) {
            text[i] = '*';
        }
        i--;
    }
}

/* OpenSSL 3.0 whose first call found no memory calls through null pointers in the next ones. */
bool secret_digest(struct str text, struct secret_hash *out)
{
    return OSSL_LIB_CTX_get0_global_default() != NULL &&
           EVP_Digest(text.p, text.n, out->bytes, NULL, EVP_sha256(), NULL) == 1;
}

bool secret_hash_eq(const struct secret_hash *a, const struct secret_hash *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
