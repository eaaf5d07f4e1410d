/* test_gguf_identity.c - how versions of model files are told apart without reading them. */
#include "format/gguf.h"
#include "gguf_text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SPLIT(index)                                                                               \
    GGUF_TEXT_HEAD(0, 3)                                                                           \
    " s:split.no 4:2 2:" #index " s:split.count 4:2 2:2 s:split.tensors.count 4:5 4:0"

static char folder[] = "/tmp/puna-identity-XXXXXX", first[64], last[64];

static void write_text(const char *path, const char *text)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    gguf_text_append(&b, text);
    FILE *f = fopen(path, "wb");
    assert_true(f != NULL && fwrite(b.data, b.n, 1, f) == 1 && fclose(f) == 0);
    buf_finish(&b);
}

static int write_shards(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(first, sizeof first, "%s/m-00001-of-00002.gguf", folder);
    snprintf(last, sizeof last, "%s/m-00002-of-00002.gguf", folder);
    write_text(first, SPLIT(0));
    write_text(last, SPLIT(1));
    return 0;
}

static int remove_shards(void **state)
{
    (void)state;
    return unlink(first) | unlink(last) | rmdir(folder);
}

/* Waits until the last change is long enough ago to rely on its times. */
static void settle(void)
{
    struct stat s;
    assert_int_equal(stat(last, &s), 0);
    struct timespec until = {.tv_sec = s.st_ctim.tv_sec + 3};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) != 0) {
    }
}

static bool identify(struct digest *out)
{
    struct gguf *g = gguf_open(first, NULL);
    assert_non_null(g);
    bool is_known = gguf_identity(g, out);
    gguf_destroy(g);
    return is_known;
}

static void files_have_an_identity_that_lasts_until_one_is_written_to(void **state)
{
    (void)state;
    struct digest before = {{1}}, again = {{0}}, after = {{1}};
    assert_false(identify(&before)); /* just written: a later write might not show */
    assert_int_equal(before.bytes[0], 1);
    settle();
    assert_true(identify(&before) && identify(&again) && digest_eq(before, again));

    struct gguf *g = gguf_open(first, NULL);
    FILE *f = fopen(last, "r+b"); /* the same byte in the same place */
    assert_true(f != NULL && fputc('G', f) == 'G' && fclose(f) == 0);
    assert_true(gguf_identity(g, &again) && digest_eq(before, again)); /* as when it was opened */
    gguf_destroy(g);

    static const struct timespec long_ago[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, last, long_ago, 0), 0);
    assert_false(identify(&after)); /* whatever the time of the last write is set to */
    settle();
    assert_true(identify(&after));
    assert_false(digest_eq(before, after));
}

static void bytes_in_memory_have_no_identity(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 16);
    gguf_text_append(&b, GGUF_TEXT_HEAD(0, 0));
    struct gguf *g = gguf_parse((const uint8_t *)b.data, b.n, NULL);
    struct digest d = {{0}};
    assert_non_null(g);
    assert_false(gguf_identity(g, &d));
    gguf_destroy(g);
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_have_an_identity_that_lasts_until_one_is_written_to),
        cmocka_unit_test(bytes_in_memory_have_no_identity),
    };
    return cmocka_run_group_tests(tests, write_shards, remove_shards);
}
