/* http_library.c - libevent's memory: that of the program, else a slot of a few; its log. */
#include "serve/http_library.h"

#include "base/mem.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { N_SLOTS = 64, SLOT_BYTES = 960, OF_CONNECTION = 16 };

static _Alignas(16) uint8_t slots[N_SLOTS][SLOT_BYTES];
static _Atomic uint64_t taken; /* a bit for each slot */

static bool is_slot(const void *p)
{
    return (uintptr_t)p - (uintptr_t)slots < sizeof slots;
}

static void *take_slot(size_t n)
{
    uint64_t before = atomic_load(&taken);
    while (n <= SLOT_BYTES && ~before != 0) {
        int i = __builtin_ctzll(~before);
        if (atomic_compare_exchange_weak(&taken, &before, before | UINT64_C(1) << i)) {
            return slots[i];
        }
    }
    return NULL;
}

static void *allocate(size_t n)
{
    void *p = mem_resize(NULL, n, 1, "libevent", NULL);
    return p != NULL ? p : take_slot(n);
}

static void release(void *p)
{
    if (is_slot(p)) {
        size_t i = (size_t)((uint8_t *)p - slots[0]) / SLOT_BYTES;
        atomic_fetch_and(&taken, ~(UINT64_C(1) << i));
    } else {
        mem_free(p);
    }
}

static void *resize(void *p, size_t n)
{
    if (p == NULL) {
        return allocate(n);
    }
    if (!is_slot(p)) {
        return mem_resize(p, n, 1, "libevent", NULL);
    }
    void *moved = n <= SLOT_BYTES ? p : allocate(n);
    if (moved != NULL && moved != p) {
        memcpy(moved, p, SLOT_BYTES);
        release(p);
    }
    return moved;
}

static void say_nothing(int severity, const char *text)
{
    (void)severity;
    (void)text;
}

static void install(void)
{
    event_set_log_callback(say_nothing);
    event_set_mem_functions(allocate, resize, release);
}

void http_library_install(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

bool http_library_has_reserve(void)
{
    return __builtin_popcountll(~atomic_load(&taken)) >= OF_CONNECTION;
}
