/* mem.h - every allocation of the program, so that tests can make the n-th one fail.
 * Threads: all functions are thread-safe. Memory from mem_alloc* is freed with mem_free. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* *out = a * b, or false when the product does not fit size_t. */
bool mem_mul(size_t a, size_t b, size_t *out);

/* *out = a + b, or false when the sum does not fit size_t. */
bool mem_add(size_t a, size_t b, size_t *out);

/* Zeroed memory for n objects of `size` bytes; NULL with *e set (ERROR_MEMORY, naming `what` and
 * the bytes) when the product overflows or memory runs out. n or size 0 gives a unique pointer. */
void *mem_alloc(size_t n, size_t size, const char *what, struct error *e);

/* Like realloc to n objects; on failure returns NULL and *p is untouched. New bytes are not zeroed.
 */
void *mem_resize(void *p, size_t n, size_t size, const char *what, struct error *e);

void mem_free(void *p);

/* Where the kernel tells of the machine, and of this process; tests have others. */
#define MEM_INFO   "/proc/meminfo"
#define MEM_STATUS "/proc/self/status"

/* Bytes of mem_alloc_pages that are promised and not taken yet: all that were not given back but
 * what the process has of anonymous memory, in RAM and in swap. An estimate, too low by what it has
 * beside them. 0 where the kernel does not tell. */
size_t mem_untouched(const char *status);

/* Bytes that could be used now without the kernel ending a process for it: available memory and
 * free swap of the machine, or less where a control group (cgroup.h) leaves less, but for those
 * that are promised and untouched. An estimate that counts file pages as free, since they can be
 * read again. Close to SIZE_MAX where the kernel tells neither. */
size_t mem_available(void);

/* Large zeroed memory on 2 MiB boundaries with transparent huge pages asked for (weights, KV).
 * ERROR_MEMORY, with both numbers, for more than mem_available(): the pages are taken when they are
 * touched, and running out then would be no error but the end of the process.
 * Counted like mem_alloc by the failing-allocation hook. Freed with mem_free_pages, same n_bytes.
 */
void *mem_alloc_pages(size_t n_bytes, const char *what, struct error *e);
void mem_free_pages(void *p, size_t n_bytes);

/* From now on whoever writes to them ends the process by SIGSEGV. Their contents, the size of their
 * pages and how they are freed stay. ERROR_MEMORY, with nothing changed, where it cannot be. */
bool mem_seal_pages(void *p, size_t n_bytes, const char *what, struct error *e);

/* Test hook: the allocation number n from now (1 = the next) fails once; 0 switches it off.
 * mem_count() is the number of allocations since the last mem_fail_nth. */
void mem_fail_nth(size_t n);
size_t mem_count(void);

#endif
