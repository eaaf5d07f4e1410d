/* mem.c - checked allocation, a hook that fails the n-th call, and what the machine has left. */
#include "base/mem.h"

#include "base/cgroup.h"
#include "base/file.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic size_t n_allocations;
static _Atomic size_t failing_allocation;
static _Atomic size_t page_bytes; /* of mem_alloc_pages, that were not given back */

bool mem_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool mem_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static bool injected_failure(void)
{
    size_t index = atomic_fetch_add(&n_allocations, 1) + 1;
    return index == atomic_load(&failing_allocation);
}

void *mem_alloc(size_t n, size_t size, const char *what, struct error *e)
{
    size_t bytes = 0;
    void *p = NULL;
    if (mem_mul(n, size, &bytes) && !injected_failure()) {
        p = calloc(1, bytes > 0 ? bytes : 1);
    }
    if (p == NULL) {
        error_set(e, ERROR_MEMORY, "out of memory: %s needs %zu x %zu bytes", what, n, size);
    }
    return p;
}

void *mem_resize(void *p, size_t n, size_t size, const char *what, struct error *e)
{
    size_t bytes = 0;
    void *moved = NULL;
    if (mem_mul(n, size, &bytes) && !injected_failure()) {
        moved = realloc(p, bytes > 0 ? bytes : 1);
    }
    if (moved == NULL) {
        error_set(e, ERROR_MEMORY, "out of memory: %s needs %zu x %zu bytes", what, n, size);
    }
    return moved;
}

void mem_free(void *p)
{
    free(p);
}

/* --- what is left: the kernel gives address space freely and kills the process that touches more
 * memory than there is, so large blocks are compared with what there is before they are mapped */

size_t mem_untouched(const char *status)
{
    uint64_t kib = 0, swap_kib = 0;
    if (!file_find_number(status, "RssAnon:", &kib)) {
        return 0;
    }
    file_find_number(status, "VmSwap:", &swap_kib);
    size_t taken = (size_t)(kib + swap_kib) * 1024, given = atomic_load(&page_bytes);
    return given > taken ? given - taken : 0;
}

size_t mem_available(void)
{
    uint64_t kib = 0, swap_kib = 0;
    size_t available = SIZE_MAX;
    if (file_find_number(MEM_INFO, "MemAvailable:", &kib)) {
        file_find_number(MEM_INFO, "SwapFree:", &swap_kib);
        available = (size_t)(kib + swap_kib) * 1024;
    }
    uint64_t left = cgroup_memory_left(CGROUP_ROOT, CGROUP_SELF, swap_kib * 1024);
    available = left < available ? (size_t)left : available;
    size_t untouched = mem_untouched(MEM_STATUS);
    return available > untouched ? available - untouched : 0;
}

enum { HUGE_PAGE_BYTES = 2 << 20 };

static bool round_to_huge_pages(size_t n_bytes, size_t *out)
{
    if (!mem_add(n_bytes, HUGE_PAGE_BYTES - 1, out)) {
        return false;
    }
    *out &= ~(size_t)(HUGE_PAGE_BYTES - 1);
    return true;
}

/* mmap gives 4 KiB alignment: one huge page more is mapped and the ends are cut off. */
static void *map_aligned(size_t bytes)
{
    size_t mapped = 0;
    if (!mem_add(bytes, HUGE_PAGE_BYTES, &mapped)) {
        return NULL;
    }
    uint8_t *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    size_t head = (HUGE_PAGE_BYTES - (uintptr_t)p % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    if (head > 0) {
        munmap(p, head);
    }
    size_t tail = mapped - head - bytes;
    if (tail > 0) {
        munmap(p + head + bytes, tail);
    }
    madvise(p + head, bytes, MADV_HUGEPAGE);
    return p + head;
}

void *mem_alloc_pages(size_t n_bytes, const char *what, struct error *e)
{
    size_t bytes = 0;
    void *p = NULL;
    if (n_bytes > 0 && round_to_huge_pages(n_bytes, &bytes) && !injected_failure()) {
        size_t available = mem_available();
        if (bytes > available) {
            error_set(e, ERROR_MEMORY, "out of memory: %s needs %zu bytes, %zu are available", what,
                      n_bytes, available);
            return NULL;
        }
        p = map_aligned(bytes);
        atomic_fetch_add(&page_bytes, p != NULL ? bytes : 0);
    }
    if (p == NULL) {
        error_set(e, ERROR_MEMORY, "out of memory: %s needs %zu bytes", what, n_bytes);
    }
    return p;
}

void mem_free_pages(void *p, size_t n_bytes)
{
    size_t bytes = 0;
    if (p != NULL && round_to_huge_pages(n_bytes, &bytes)) {
        munmap(p, bytes);
        atomic_fetch_sub(&page_bytes, bytes);
    }
}

/* Whole huge pages: none is taken apart. */
bool mem_seal_pages(void *p, size_t n_bytes, const char *what, struct error *e)
{
    size_t bytes = 0;
    return (round_to_huge_pages(n_bytes, &bytes) && mprotect(p, bytes, PROT_READ) == 0) ||
           error_set(e, ERROR_MEMORY, "%s cannot be made read-only: %s", what, strerror(errno));
}

void mem_fail_nth(size_t n)
{
    atomic_store(&n_allocations, 0);
    atomic_store(&failing_allocation, n);
}

size_t mem_count(void)
{
    return atomic_load(&n_allocations);
}
