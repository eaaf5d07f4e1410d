/* unroll.h - UNROLL before a loop of constant length: arrays that it indexes become registers. Of
 * `GCC unroll` clang makes a late unrolling, when they are memory already. */
#ifndef KERN_UNROLL_H
#define KERN_UNROLL_H

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
