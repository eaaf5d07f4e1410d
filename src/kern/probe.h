/* probe.h - what this machine can do at most, measured: reads of memory, integer and float
 * multiply-adds. Beside every speed that Puna prints stands its share of such a limit. And whether
 * somebody else's program shares the cores, which those do not show.
 *
 * Each call is one measurement (probe_read: two) of about PROBE_SECONDS with all threads of the
 * pool. Other load on the machine only makes it smaller, so callers measure several times, between
 * the timings that they compare, and keep the best and the median (probe_summary).
 * Owner/threads: called by the thread that owns the pool. Nothing is allocated. */
#ifndef KERN_PROBE_H
#define KERN_PROBE_H

#include "base/pool.h"
#include "kern/kern.h"

#include <stddef.h>
#include <stdint.h>

#define PROBE_SECONDS 0.1

/* Bytes a second that the threads together read from data, going round and round, each in one
 * stream or in four, whichever is faster. Chunks are handed out as work is in a matmul, so data
 * that fits a cache is measured as the kernels see it.
 * needs   data 64-byte aligned and written to before (untouched pages are all one page of zeros);
 *         n_bytes >= 64; at most n_bytes / 64 * 64 are read */
double probe_read(struct pool *p, const void *data, size_t n_bytes);

/* Integer operations a second, 8-bit multiplications and their additions counted one each, with the
 * best instructions that a kernel set of this CPU has: vpdpbusd on 512 bits, vpmaddubsw on 256,
 * smmla or sdot on 128, or plain C; for the set amx, which the CPU must run, tdpbssd on tiles: a
 * limit that nothing but its super-blocks can come near, and half of it at most where a weight has
 * two digits. */
double probe_int8(struct pool *p, enum kern_set set);

/* Float operations a second: multiplications and additions of fused multiply-adds on f32. */
double probe_f32(struct pool *p);

/* The same on pairs of bf16 in f32 sums; without instructions for that, what probe_f32 measures. */
double probe_bf16(struct pool *p);

/* Independent additions of integers a second. A core whose other hardware thread is at work has
 * fewer turns for them, down to half; of multiplications, which wait for the multipliers, it does
 * as many as ever, but kernels do more than multiply. */
double probe_additions(struct pool *p);

struct probe_summary {
    double best;   /* largest */
    double median; /* of an even number: the mean of the two in the middle */
};

/* Sorts values (n >= 1) in place. */
struct probe_summary probe_summary(double *values, size_t n);

#endif
