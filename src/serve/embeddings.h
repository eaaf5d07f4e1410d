/* embeddings.h - the answer to a request for embeddings: vectors as the engine thread makes them,
 * written in the order of the inputs.
 *
 * Belongs to the I/O thread. As an answer (answer.h) it outlives its exchange until the engine
 * thread has let go of the generation. */
#ifndef SERVE_EMBEDDINGS_H
#define SERVE_EMBEDDINGS_H

#include "serve/api_request.h"
#include "serve/bill.h"
#include "serve/generation.h"
#include "serve/http.h"
#include "serve/worker.h"

/* Numbers, that is inputs times n_embd: of an answer, and of all that wait, are computed or are
 * being read. A number takes 4 bytes until its answer is read, and 8 more from when the engine
 * thread has computed it until the I/O thread has seen that: whatever the clients do, 128 MiB, and
 * at most 384. Text is made of them as it is read, 64 KiB and a vector ahead. */
enum { EMBEDDINGS_MAX_NUMBERS = 1 << 23, EMBEDDINGS_ALL_NUMBERS = 1 << 25 };

enum { EMBEDDINGS_MAX_VECTOR_BYTES = 64 << 20 }; /* as text */

/* What all of them have in common; must outlive them. */
struct embeddings_list {
    struct http_server *server;
    struct worker *worker;
    uint32_t n_embd;       /* numbers of a vector */
    struct ledger *ledger; /* of those that have an entry */
    struct embeddings *first;
    uint64_t n_numbers; /* of all of them */
    struct buf out;     /* the vector in hand; at most EMBEDDINGS_MAX_VECTOR_BYTES */
};

struct embeddings_job {
    struct api_request request;
    /* With inputs as its prompts, owner and the priority of one input; the rest is filled in. */
    struct generation *g;
    struct ledger_entry *entry; /* NULL: no row of it is wanted */
    uint32_t retry_s;           /* out, with ERROR_BUSY: see generation.h */
};

/* Takes over job->request, job->g and job->entry (all zeroed then) and submits the work. The answer
 * begins when its row is written. On failure they are released, and x is the caller's to answer.
 * ERROR_MEMORY; ERROR_BUSY, also when there would be more than EMBEDDINGS_ALL_NUMBERS. */
bool embeddings_begin(struct embeddings_list *list, struct http_exchange *x,
                      struct embeddings_job *job, struct error *e);

/* Tokens of all inputs. */
uint64_t embeddings_n_tokens(const struct embeddings *a);

/* As answer_dismiss(). */
void embeddings_dismiss(struct embeddings *a, struct auth_caller *caller);

/* Ends them with that error, but those that are being written: all, or those alone that the engine
 * has begun. Where all end, those that wait for their rows alone end as if their patience did. */
void embeddings_end(struct embeddings_list *list, bool only_begun, const struct error *why);

/* After the worker's end: frees what is left, and hands over its rows. */
void embeddings_finish(struct embeddings_list *list);

#endif
