/* bill.h - what an answer owes when it has ended: a row in the ledger (ledger.h), and the tokens
 * that its key is charged (auth.h). Both have the same numbers: of what was computed when the
 * engine let go of it, which may be later than its client did.
 * Owner/threads: the I/O thread. */
#ifndef SERVE_BILL_H
#define SERVE_BILL_H

#include "serve/auth.h"
#include "serve/ledger.h"

struct bill {
    struct ledger *ledger;
    struct ledger_entry *entry; /* NULL: there will be no row of it, or it is not ours any more */
    struct auth_caller *caller; /* who has no exchange any more, and leaves with its end; or NULL */
    int status;                 /* 0 while nothing has ended it */
    bool is_settling;           /* all is there but its row, which is waited for */
};

/* Tokens that were computed: prompts that the engine never had do not count. */
struct bill_sums {
    uint64_t n_prompt, n_cached, n_completion;
    bool is_filtered;
};

/* All of it is there: hands over its row. True: its end may be told at once; else it is told from
 * told, which calls bill_settled() first. */
bool bill_settle(struct bill *b, const struct bill_sums *sums, ledger_told_fn *told,
                 void *argument);
void bill_settled(struct bill *b);

/* The client goes before the end was told. */
void bill_leave(struct bill *b);

/* Its exchange has ended. The caller, NULL without one, leaves; if the sums may still grow, then
 * with bill_close(), and is none of his key's concurrent requests until then. */
void bill_dismiss(struct bill *b, struct auth_caller *caller, const struct bill_sums *sums,
                  bool may_grow);

/* The engine has let go of it. Of what has not settled there is a row if it has begun; nobody waits
 * for it. */
void bill_close(struct bill *b, const struct bill_sums *sums, bool has_begun);

/* Nobody waits for its row any more. */
void bill_forget(struct bill *b);

#endif
