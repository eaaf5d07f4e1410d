/* bill.c - the row and the caller of an answer, with one set of numbers. */
#include "serve/bill.h"

#include "base/clock.h"

#include <time.h>

static void fill_row(const struct bill *b, const struct bill_sums *sums)
{
    struct store_use *use = &b->entry->use;
    use->n_prompt = sums->n_prompt;
    use->n_cached = sums->n_cached;
    use->n_completion = sums->n_completion;
    use->is_filtered = sums->is_filtered;
    use->status = b->status;
}

bool bill_settle(struct bill *b, const struct bill_sums *sums, ledger_told_fn *told, void *argument)
{
    b->status = 200;
    if (b->entry != NULL) {
        fill_row(b, sums);
        b->is_settling = !ledger_put(b->ledger, b->entry, told, argument);
    }
    if (!b->is_settling) {
        b->entry = NULL;
    }
    return !b->is_settling;
}

void bill_settled(struct bill *b)
{
    b->is_settling = false;
    b->entry = NULL;
}

void bill_leave(struct bill *b)
{
    if (b->status == 0) {
        b->status = HTTP_CLIENT_LEFT;
    }
}

static void charge(struct auth_caller *caller, const struct bill_sums *sums)
{
    auth_leave(caller, sums->n_prompt + sums->n_completion, (int64_t)time(NULL), clock_now_ns());
}

void bill_dismiss(struct bill *b, struct auth_caller *caller, const struct bill_sums *sums,
                  bool may_grow)
{
    if (caller != NULL && may_grow) {
        auth_hang_up(caller);
        b->caller = caller;
    } else if (caller != NULL) {
        charge(caller, sums);
    }
}

void bill_close(struct bill *b, const struct bill_sums *sums, bool has_begun)
{
    if (b->caller != NULL) {
        charge(b->caller, sums);
        b->caller = NULL;
    }
    if (b->entry != NULL && has_begun) {
        fill_row(b, sums);
        ledger_put(b->ledger, b->entry, NULL, NULL);
    } else {
        ledger_drop(b->ledger, b->entry);
    }
    b->entry = NULL;
}

void bill_forget(struct bill *b)
{
    if (b->is_settling) {
        ledger_forget(b->ledger, b->entry);
        bill_settled(b);
    }
}
