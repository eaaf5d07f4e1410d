/* ahead.h - where a kernel asks for what it reads later. Private to kern/.
 *
 * A core follows a stream of requests only so far ahead of it: a Zen 3 reads 21 GB/s in one stream
 * and 27 in two (bench/RESULTS.md). So a matrix is taken as stretches of pieces, a piece being the
 * scales and quants of a block, and while one stretch is multiplied the halves of the next one are
 * asked for side by side, line by line in turn: in lumps they come at the pace of one stream, or
 * slower. */
#ifndef KERN_AHEAD_H
#define KERN_AHEAD_H

#include <stddef.h>
#include <stdint.h>

struct ahead {
    uintptr_t at;    /* what a piece asks for in the first half */
    uint32_t n_left; /* pieces until the stretch ends */
};

enum {
    AHEAD_LINE = 64,
    /* That a stretch has at least: halves that are nearer come at the pace of one stream, and of
     * 147 KiB some are lost from L2 before they are read. */
    AHEAD_BYTES = 32 << 10,
    /* A line is asked for before so much is read, or memory is too slow. */
    AHEAD_LEAST = 4 << 10
};

/* Pieces of a stretch: a power of two. */
static inline uint32_t ahead_pieces(unsigned piece_bytes)
{
    return UINT32_C(2) << (31 - __builtin_clz((AHEAD_BYTES - 1) / piece_bytes));
}

/* Bytes from one half to the other. */
static inline size_t ahead_half(unsigned piece_bytes)
{
    return (size_t)ahead_pieces(piece_bytes) / 2 * piece_bytes;
}

/* Lines that hold what n pieces ask for in each half; where that is no whole number, the last one
 * is asked for twice. */
static inline int ahead_lines(unsigned piece_bytes, unsigned n)
{
    return (int)((piece_bytes * n / 2 + AHEAD_LINE - 1) / AHEAD_LINE);
}

/* What the first piece of a group of rows asks for.
 * group        where it lies: first the scales of all its pieces, then their quants, which are
 *              thus read up to scale_bytes before pieces that lay one behind the other would be
 * scale_bytes  of the group
 * place        pieces that lie before the group's, modulo 2^32: stretches go on from group to
 *              group, and from a thread's share to what it multiplies next */
static inline struct ahead ahead_first(const uint8_t *group, size_t scale_bytes, uint32_t place,
                                       unsigned piece_bytes)
{
    size_t early = scale_bytes + AHEAD_LEAST, half = ahead_half(piece_bytes);
    size_t more = early > half ? (early - half + AHEAD_LINE - 1) / AHEAD_LINE * AHEAD_LINE : 0;
    place %= ahead_pieces(piece_bytes);
    uint32_t n_left = ahead_pieces(piece_bytes) - place;
    size_t bytes = (size_t)n_left * piece_bytes + place * (piece_bytes / 2) + more;
    return (struct ahead){(uintptr_t)group + bytes, n_left};
}

static inline void ahead_next(struct ahead *a, unsigned piece_bytes)
{
    a->at += piece_bytes / 2;
    if (--a->n_left == 0) {
        a->at += ahead_half(piece_bytes);
        a->n_left = ahead_pieces(piece_bytes);
    }
}

#endif
