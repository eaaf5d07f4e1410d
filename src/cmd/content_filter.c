/* content_filter.c - reads the word list and sets up the guard. */
#include "cmd/content_filter.h"

#include <errno.h>
#include <stdio.h>

static bool failed(const char *path, struct error *e)
{
    return error_set(e, ERROR_IO, "%s: %s", path, strerror(errno));
}

/* One byte more than a list may have tells that there are too many. */
static bool read_file(const char *path, struct buf *out, struct error *e)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return failed(path, e);
    }
    bool ok = buf_reserve(out, WORDS_MAX_FILE_BYTES + 1, e);
    if (ok) {
        out->n = fread(out->data, 1, WORDS_MAX_FILE_BYTES + 1, f);
        ok = !ferror(f) || failed(path, e);
    }
    fclose(f);
    return ok;
}

static bool read_list(struct content_filter *f, struct error *e)
{
    struct buf text;
    buf_init(&text, WORDS_MAX_FILE_BYTES + 1);
    bool ok = f->words == NULL || read_file(f->words, &text, e);
    if (ok) {
        f->list = words_parse(f->words == NULL ? words_builtin() : buf_str(&text), e);
        ok = f->list != NULL || (f->words != NULL && error_prefix(e, "%s", f->words));
    }
    buf_finish(&text);
    return ok || (f->words != NULL && error_prefix(e, "option --profanity-words"));
}

bool content_filter_open(struct content_filter *f, struct error *e)
{
    struct str mode = str_from(f->mode != NULL ? f->mode : "on");
    f->guard.blocks = str_eq(mode, STR("block"));
    f->is_on = f->guard.blocks || str_eq(mode, STR("on"));
    if (!f->is_on && !str_eq(mode, STR("off"))) {
        return error_set(e, ERROR_USAGE, "option --content-filter: '%s' is not on, off or block",
                         f->mode);
    }
    if (!f->is_on && f->words != NULL) {
        return error_set(e, ERROR_USAGE,
                         "option --profanity-words has no effect with --content-filter off");
    }
    if (!f->is_on) {
        return true;
    }
    if (!read_list(f, e)) {
        return false;
    }
    f->guard.judges[f->guard.n_judges++] = words_judge(f->list);
    return true;
}

void content_filter_close(struct content_filter *f)
{
    words_destroy(f->list);
    *f = (struct content_filter){0};
}
