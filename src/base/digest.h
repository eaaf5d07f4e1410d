/* digest.h - 128 bits that tell contents apart: XXH3 (libxxhash), as fast as memory is read.
 * Against damage and mistakes; who wants to can make two contents of one digest. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

struct digest {
    uint8_t bytes[16]; /* the same on every machine */
};

static inline struct digest digest_of(const void *data, size_t n_bytes)
{
    XXH128_canonical_t canonical;
    struct digest d;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, n_bytes));
    memcpy(d.bytes, canonical.digest, sizeof d.bytes);
    return d;
}

static inline bool digest_eq(struct digest a, struct digest b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

#endif
