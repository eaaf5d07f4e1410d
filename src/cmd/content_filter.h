/* content_filter.h - the content filter of `puna serve`, as its options say. */
#ifndef CMD_CONTENT_FILTER_H
#define CMD_CONTENT_FILTER_H

#include "guard/words.h"

struct content_filter {
    const char *mode;  /* "on", "off", "block"; NULL: on */
    const char *words; /* the file that replaces the lists built in; NULL: none */

    struct words *list;
    struct guard guard;
    bool is_on;
};

/* By mode and words. ERROR_USAGE naming the option: no such mode, words that nothing would read, a
 * file that is no word list. ERROR_IO naming the file; ERROR_MEMORY. On failure,
 * too, content_filter_close(). */
bool content_filter_open(struct content_filter *f, struct error *e);
void content_filter_close(struct content_filter *f);

#endif
