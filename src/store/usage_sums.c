/* usage_sums.c - a table that is searched by halves: few keys and models, many stretches. */
#include "store/usage_sums.h"

#include "base/mem.h"

#include <stdatomic.h>

enum { STRETCH_MS = 3600 * 1000 };

void usage_sums_init(struct usage_sums *u)
{
    *u = (struct usage_sums){0};
}

void usage_sums_clear(struct usage_sums *u)
{
    for (size_t i = 0; i < u->n; i++) {
        mem_free(u->rows[i].key);
        mem_free(u->rows[i].model);
    }
    u->n = 0;
}

void usage_sums_finish(struct usage_sums *u)
{
    usage_sums_clear(u);
    mem_free(u->rows);
    *u = (struct usage_sums){0};
}

/* --- rows */

static int compare_text(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare(const struct store_usage_sum *a, const struct store_usage_sum *b)
{
    int order = compare_text(a->key, b->key);
    return order != 0 ? order : compare_text(a->model, b->model);
}

/* The first row that does not lie before it. */
static size_t find(const struct usage_sums *u, const struct store_usage_sum *sum)
{
    size_t low = 0, high = u->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&u->rows[middle].sum, sum) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static char *copy_text(struct str *s, struct error *e)
{
    char *copy = mem_alloc(s->n + 1, 1, "name in a sum", e);
    if (copy != NULL && s->n > 0) {
        memcpy(copy, s->p, s->n);
    }
    s->p = copy;
    return copy;
}

static bool insert(struct usage_sums *u, size_t at, const struct store_usage_sum *sum,
                   struct error *e)
{
    if (u->n == u->capacity) {
        size_t capacity = u->capacity > 0 ? 2 * u->capacity : 16;
        void *grown = mem_resize(u->rows, capacity, sizeof *u->rows, "sums of usage", e);
        if (grown == NULL) {
            return false;
        }
        u->rows = grown;
        u->capacity = capacity;
    }
    struct usage_sums_row row = {.sum = *sum};
    row.key = copy_text(&row.sum.key, e);
    row.model = row.key != NULL ? copy_text(&row.sum.model, e) : NULL;
    if (row.model == NULL) {
        mem_free(row.key);
        return false;
    }
    memmove(&u->rows[at + 1], &u->rows[at], (u->n - at) * sizeof *u->rows);
    u->rows[at] = row;
    u->n++;
    return true;
}

static bool add_number(uint64_t *to, uint64_t n, struct error *e)
{
    if (n > (uint64_t)INT64_MAX || *to > (uint64_t)INT64_MAX - n) {
        return error_set(e, ERROR_FORMAT, "a sum of usage of %llu and %llu, at most 2^63 - 1",
                         (unsigned long long)*to, (unsigned long long)n);
    }
    *to += n;
    return true;
}

bool usage_sums_add(struct usage_sums *u, const struct store_usage_sum *sum, struct error *e)
{
    size_t at = find(u, sum);
    if (at == u->n || compare(&u->rows[at].sum, sum) != 0) {
        return insert(u, at, sum, e);
    }
    struct store_usage_sum *to = &u->rows[at].sum;
    return add_number(&to->n_requests, sum->n_requests, e) &&
           add_number(&to->n_prompt, sum->n_prompt, e) &&
           add_number(&to->n_cached, sum->n_cached, e) &&
           add_number(&to->n_completion, sum->n_completion, e) &&
           add_number(&to->n_filtered, sum->n_filtered, e) &&
           add_number(&to->n_failed, sum->n_failed, e);
}

/* --- stretches */

static bool add_row(void *argument, const struct store_usage_sum *sum, struct error *e)
{
    return usage_sums_add(argument, sum, e);
}

bool usage_sums_read(struct usage_sums *u, struct store *s, const struct store_usage_range *range,
                     const _Atomic bool *stop, struct error *e)
{
    struct store_usage_range stretch = *range;
    for (;;) {
        int64_t first;
        if (stop != NULL && atomic_load(stop)) {
            return error_set(e, ERROR_INTERRUPTED, "nobody waits for the sums any more");
        }
        if (!store_usage_find_first(s, stretch.from_ms, &first, e)) {
            return false;
        }
        if (first >= range->until_ms) {
            return true;
        }
        stretch.from_ms = first;
        stretch.until_ms =
            range->until_ms - first > STRETCH_MS ? first + STRETCH_MS : range->until_ms;
        if (!store_usage_walk(s, &stretch, add_row, u, e)) {
            return false;
        }
        stretch.from_ms = stretch.until_ms;
    }
}
