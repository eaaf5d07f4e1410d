/* spill_disk.h - the folder of spilled pages, and the thread that reads and writes it, one page at
 * a time, so that no step ever waits for a disk: the engine's thread hands over a copy, or asks and
 * looks again later. Which pages are worth it is spill.h's concern.
 *
 * Nothing that goes wrong here is an error to a request: it is told to options.note, which must not
 * block, as the next job waits for it; the file is taken for absent, and after a failed write
 * nothing is written for SPILL_PAUSE_S.
 * Owner/threads: created, called and destroyed by the engine's thread. */
#ifndef ENGINE_SPILL_DISK_H
#define ENGINE_SPILL_DISK_H

#include "engine/spill_file.h"

struct spill_options {
    const char *folder;             /* made, for its owner alone, if it is not there */
    uint64_t limit_bytes;           /* of all its files together */
    bool reads_only;                /* nothing is stored */
    struct digest maker;            /* of the model's weights and of what computes with them */
    void (*note)(const char *text); /* one line, without its newline; from the disk's thread */
    void (*wake)(void *argument);   /* the disk's thread has done its job; NULL: not called */
    void *wake_argument;
};

enum {
    SPILL_PAUSE_S = 600,
    SPILL_SPARE_BYTES = 1 << 28 /* of the disk stay free */
};

struct spill_disk;

/* For pages of page_bytes, prefixes of max_tokens. ERROR_MEMORY, ERROR_IO (name too long). */
struct spill_disk *spill_disk_create(const struct spill_options *options, size_t page_bytes,
                                     uint32_t max_tokens, struct error *e);

/* Waits for the job under way. NULL is allowed. */
void spill_disk_destroy(struct spill_disk *d);

enum spill_answer {
    SPILL_ABSENT, /* no file, or a bad one */
    SPILL_COMING, /* it is, or waits to be, read: ask again */
    SPILL_HERE    /* it was copied */
};

/* page (page_bytes) = that of the prefix, once it was read. Looks whether there is a file, and does
 * not block else. */
enum spill_answer spill_disk_take(struct spill_disk *d, const struct spill_prefix *p, void *page);

/* Nothing is read or written, and writing is allowed and not paused. */
bool spill_disk_is_free(struct spill_disk *d);

/* Copies the page, which is written then; where its file is there already, that counts as used and
 * nothing is copied. Only while free. */
void spill_disk_put(struct spill_disk *d, const struct spill_prefix *p, const void *page);

/* Waits until it is free; false when it is not at that time (clock_now_ns). */
bool spill_disk_wait(struct spill_disk *d, uint64_t until_ns);

#endif
