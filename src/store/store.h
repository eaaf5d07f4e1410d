/* store.h - what is kept beside the models: SQLite files, one of keys (store_keys.h) and one of
 * what was used (store_usage.h). Two, as the server only reads the first, and does not need the
 * second to let somebody in.
 *
 * Several processes use one at once: `puna keys` writes while `puna serve` reads. A change is in
 * the file as a whole or not at all, also when the machine stops in the middle. A file is for its
 * owner alone: whoever can write to that of keys can let himself in.
 * Owner/threads: a store belongs to the thread that opened it. All calls block for as long as
 * others write, store_options.patience_ms at most: then ERROR_BUSY. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/error.h"

#include <stdint.h>
#include <time.h>

struct store;

/* A kind of file. */
struct store_schema {
    uint32_t application_id; /* in the file, SQLite's own field for it */
    const char *option;      /* that names another one, for messages: "--store" */
    const char *maker;       /* what makes one: "puna keys add" */
    /* (n_forms) entry i makes a file of form i one of form i + 1. They are never changed, only
     * added to. */
    const char *const *migrations;
    int n_forms;
    /* All of it is looked through when it is opened, which takes as long as reading it: for files
     * that are small. In one that is damaged, rows out of order above all, a change may find
     * another row than those who read. */
    bool is_checked;
};

struct store_options {
    const struct store_schema *schema;
    const char *path;
    bool creates;         /* the file and its folders where there are none, or fills an empty one */
    uint32_t patience_ms; /* that others who write are waited for */
};

/* NULL with ERROR_NOT_FOUND where there is no file and none is to be made; ERROR_FORMAT for what is
 * no store, or a damaged one, or an empty file that is not to be filled (ERROR_BUSY while it is
 * young: it may be in the making); ERROR_UNSUPPORTED for one that a newer program has written;
 * ERROR_IO, ERROR_MEMORY. All name the file. An older form is brought to that of this program. */
struct store *store_open(const struct store_options *options, struct error *e);

/* Takes NULL. What was begun and not committed is taken back. */
void store_close(struct store *s);

const char *store_path(const struct store *s);

/* What is read and written between the two belongs together: nobody else writes meanwhile. As
 * store_open(), it refuses what a newer Puna has made of the file since. */
bool store_begin(struct store *s, struct error *e);
/* A disk that fails at its very end leaves it open whether that was made: then the text says so. */
bool store_commit(struct store *s, struct error *e);
void store_rollback(struct store *s);

/* What a file looks like from outside: equal as long as nobody has written to it. A file that was
 * written to a moment ago may be so again within the same tick of its clock: `is_young` says that
 * equal means nothing yet. Zeroed: there is no file. */
struct store_stamp {
    uint64_t device, inode, n_bytes;
    struct timespec written, changed;
    bool is_young;
};

/* ERROR_IO when it cannot be known. No file is no error. */
bool store_look(const char *path, struct store_stamp *out, struct error *e);
bool store_stamp_eq(const struct store_stamp *a, const struct store_stamp *b);

#endif
