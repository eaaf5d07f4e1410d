/* test_packed_file.c - files of packed weights: what was written is read, and nothing else is. */
#include "base/mem.h"
#include "model/packed_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Two whole chunks and a short one. Offsets in the file, as docs/CACHE.md has them. */
enum {
    N_BYTES = 2 * PACKED_FILE_CHUNK + 1000,
    VERSION_AT = 8,
    SIZE_AT = 16,
    LAYOUT_AT = 24,
    CONTENT_AT = 40,
    CHECKSUM_AT = 56,
    IDENTITY_AT = 72,
    TABLE_AT = 88,
    TABLE_END = TABLE_AT + 3 * 16,
    DATA_AT = 4096,
    FILE_BYTES = DATA_AT + N_BYTES
};

static struct pool *pool;
static uint8_t weights[N_BYTES];
static const struct model_watch nobody;
static const struct packed_head head = {
    .n_bytes = N_BYTES, .layout = {{1, 2}}, .content = {{3, 4}}, .identity = {{5, 6}}};

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static sigset_t blockable;

/* Its threads take no signal, as those of the program. */
static int make_pool(void **state)
{
    (void)state;
    sigemptyset(&blockable);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaddset(&blockable, signals[i]);
    }
    for (uint32_t i = 0; i < N_BYTES; i++) {
        weights[i] = (uint8_t)(i * i >> 7);
    }
    pthread_sigmask(SIG_BLOCK, &blockable, NULL);
    pool = pool_create(2, NULL);
    pthread_sigmask(SIG_UNBLOCK, &blockable, NULL);
    return pool == NULL;
}

static int destroy_pool(void **state)
{
    (void)state;
    pool_destroy(pool);
    return 0;
}

static int empty_file(void)
{
    int fd = memfd_create("packed", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int good_file(void)
{
    int fd = empty_file();
    assert_true(packed_file_write(fd, &head, weights, pool, &nobody, NULL));
    return fd;
}

/* Reads the whole file; true when it gave the weights that were written. */
static bool read_all(int fd, struct error *e)
{
    static uint8_t dst[N_BYTES];
    struct packed_file f;
    memset(dst, 0, sizeof dst);
    if (!packed_file_open(&f, fd, NULL, e)) {
        return false;
    }
    assert_int_equal(f.head.n_bytes, N_BYTES);
    bool ok = packed_file_read(&f, dst, pool, &nobody, e);
    packed_file_finish(&f);
    if (ok) {
        assert_memory_equal(dst, weights, N_BYTES);
    }
    return ok;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    int fd = good_file();
    struct packed_file f;
    struct error e = {0};
    struct stat s;
    assert_true(packed_file_open(&f, fd, NULL, &e));
    assert_true(digest_eq(f.head.layout, head.layout) && digest_eq(f.head.content, head.content) &&
                digest_eq(f.head.identity, head.identity));
    packed_file_finish(&f);
    assert_true(read_all(fd, &e));
    assert_int_equal(fstat(fd, &s), 0);
    assert_int_equal(s.st_size, FILE_BYTES);
    assert_int_equal(packed_file_bytes(N_BYTES), FILE_BYTES);
    close(fd);
}

static void the_bytes_lie_where_the_document_says(void **state)
{
    (void)state;
    int fd = good_file();
    static uint8_t bytes[FILE_BYTES];
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_memory_equal(bytes, "PUNApack\1\0\0\0\0\0\0\0", 16);
    uint64_t n_bytes = N_BYTES;
    assert_memory_equal(bytes + SIZE_AT, &n_bytes, 8);
    assert_memory_equal(bytes + LAYOUT_AT, &head.layout, 16);
    assert_memory_equal(bytes + CONTENT_AT, &head.content, 16);
    assert_memory_equal(bytes + IDENTITY_AT, &head.identity, 16);
    assert_memory_equal(bytes + DATA_AT, weights, N_BYTES);
    for (size_t i = 0; i < 3; i++) {
        size_t at = i * PACKED_FILE_CHUNK;
        struct digest d = digest_of(weights + at, i < 2 ? PACKED_FILE_CHUNK : 1000);
        assert_memory_equal(bytes + TABLE_AT + 16 * i, &d, 16);
    }
    struct digest table = digest_of(bytes + TABLE_AT, 3 * 16);
    memcpy(bytes + CHECKSUM_AT + 16, &table,
           16); /* over the identity: the head, then the table's */
    memmove(bytes + CHECKSUM_AT, bytes + CHECKSUM_AT + 16, 16);
    struct digest d = digest_of(bytes, CHECKSUM_AT + 16), stored;
    assert_int_equal(pread(fd, &stored, 16, CHECKSUM_AT), 16);
    assert_true(digest_eq(d, stored));
    close(fd);
}

static void an_identity_can_be_replaced(void **state)
{
    (void)state;
    int fd = good_file();
    struct digest other = {{7}};
    struct packed_file f;
    assert_true(packed_file_identify(fd, &other));
    assert_true(packed_file_open(&f, fd, NULL, NULL));
    assert_true(digest_eq(f.head.identity, other));
    packed_file_finish(&f);
    assert_true(read_all(fd, NULL));
    close(fd);
}

/* --- bad files */

static const struct {
    const char *name;
    uint64_t at;
    size_t n;
    uint64_t value; /* n bytes of it replace those at `at` */
    const char *message;
} bad_heads[] = {
    {"another magic", 0, 1, 'p', "not a file of packed weights"},
    {"an older version", VERSION_AT, 8, 0, "version 0, expected 1"},
    {"a later version", VERSION_AT, 8, 2, "version 2, expected 1"},
    {"a version of 64 bits", VERSION_AT, 8, (UINT64_C(1) << 32) + 1, "version 4294967297"},
    {"another layout", LAYOUT_AT, 1, 9, "the head is damaged"},
    {"another content", CONTENT_AT + 15, 1, 9, "the head is damaged"},
    {"another checksum", CHECKSUM_AT + 15, 1, 9, "the head is damaged"},
    {"another table", TABLE_END - 1, 1, 9, "the head is damaged"},
    {"no weights", SIZE_AT, 8, 0, "529384 bytes, expected 4096"},
    {"a byte less", SIZE_AT, 8, N_BYTES - 1, "529384 bytes, expected 529383"},
    {"a byte more", SIZE_AT, 8, N_BYTES + 1, "529384 bytes, expected 529385"},
    {"all the bytes there are", SIZE_AT, 8, UINT64_MAX, "18446744073709551615 bytes of weights"},
    {"a size that wraps to the right one", SIZE_AT, 8, N_BYTES - (UINT64_C(1) << 60), "too many"},
    {"a table that wraps", SIZE_AT, 8, UINT64_C(1) << 62, "too many"},
    {"half a PiB", SIZE_AT, 8, (uint64_t)INT32_MAX *PACKED_FILE_CHUNK, "expected 562984312901632"},
    {"a chunk more than that", SIZE_AT, 8, ((uint64_t)INT32_MAX + 1) * PACKED_FILE_CHUNK,
     "562949953421312 bytes of weights are too many"},
    {"the first weight", DATA_AT, 1, 9, "chunk 1 of 3 is damaged"},
    {"a weight at the end of a chunk", DATA_AT + 2 * PACKED_FILE_CHUNK - 1, 1, 0x55,
     "chunk 2 of 3 is damaged"},
    {"the last weight", FILE_BYTES - 1, 1, 0x55, "chunk 3 of 3 is damaged"},
};

static void expect_refusal(const char *name, int fd, const char *message)
{
    struct error e = {0};
    if (read_all(fd, &e)) {
        fail_msg("%s: read", name);
    }
    if (e.code != ERROR_FORMAT || strstr(e.text, message) == NULL) {
        fail_msg("%s: code %d '%s', expected '%s'", name, (int)e.code, e.text, message);
    }
}

static void bad_files_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        int fd = good_file();
        ssize_t n = (ssize_t)bad_heads[i].n;
        uint64_t before = 0;
        assert_int_equal(pread(fd, &before, bad_heads[i].n, (off_t)bad_heads[i].at), n);
        assert_int_not_equal(before, bad_heads[i].value);
        assert_int_equal(pwrite(fd, &bad_heads[i].value, bad_heads[i].n, (off_t)bad_heads[i].at),
                         n);
        expect_refusal(bad_heads[i].name, fd, bad_heads[i].message);
        close(fd);
    }
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    static const off_t ends[] = {0,
                                 1,
                                 8,
                                 TABLE_AT - 1,
                                 TABLE_AT,
                                 TABLE_END,
                                 DATA_AT - 1,
                                 DATA_AT,
                                 DATA_AT + 1,
                                 DATA_AT + 1000,
                                 DATA_AT + PACKED_FILE_CHUNK,
                                 FILE_BYTES - 1};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        int fd = good_file();
        assert_int_equal(ftruncate(fd, ends[i]), 0);
        char message[32];
        snprintf(message, sizeof message, "%lld bytes, ", (long long)ends[i]);
        expect_refusal(message, fd, message);
        close(fd);
    }
    int fd = good_file();
    assert_int_equal(ftruncate(fd, FILE_BYTES + 1), 0);
    expect_refusal("longer", fd, "529385 bytes, expected 529384");
    close(fd);
}

static void a_file_that_is_cut_off_while_it_is_read_is_refused(void **state)
{
    (void)state;
    static uint8_t dst[N_BYTES];
    int fd = good_file();
    struct packed_file f;
    struct error e = {0};
    assert_true(packed_file_open(&f, fd, NULL, &e));
    assert_int_equal(ftruncate(fd, DATA_AT + 10), 0);
    assert_false(packed_file_read(&f, dst, pool, &nobody, &e));
    assert_non_null(strstr(e.text, "the file ends at byte "));
    packed_file_finish(&f);
    close(fd);
}

static void every_bit_of_head_and_table_counts(void **state)
{
    (void)state;
    int fd = good_file();
    for (off_t at = 0; at < TABLE_END; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            struct packed_file f;
            bool is_identity = at >= IDENTITY_AT && at < TABLE_AT;
            assert_int_equal(packed_file_open(&f, fd, NULL, NULL), is_identity);
            if (is_identity) {
                assert_false(digest_eq(f.head.identity, head.identity));
                packed_file_finish(&f);
            }
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
    }
    assert_true(read_all(fd, NULL));
    close(fd);
}

static void what_is_not_wanted_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    int fd = good_file();
    struct packed_file f;
    struct packed_head wanted = head;
    mem_fail_nth(0);
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        wanted.n_bytes = i == 0 ? N_BYTES - 1 : N_BYTES;
        wanted.layout.bytes[0] ^= (uint8_t)i;
        assert_false(packed_file_open(&f, fd, &wanted, &e));
        assert_int_equal(e.code, ERROR_FORMAT);
        assert_non_null(
            strstr(e.text, i == 0 ? "525288 bytes of weights, now 525287" : "otherwise"));
    }
    assert_int_equal(mem_count(), 0);
    wanted = head;
    wanted.content.bytes[0] ^= 1; /* is the caller's concern, as the identity is */
    assert_true(packed_file_open(&f, fd, &wanted, NULL));
    packed_file_finish(&f);
    close(fd);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    int ends[2], folder = open("/", O_RDONLY | O_DIRECTORY);
    assert_int_equal(pipe(ends), 0);
    expect_refusal("a pipe", ends[0], "not a regular file");
    expect_refusal("a folder", folder, "not a regular file");
    close(ends[0]);
    close(ends[1]);
    close(folder);
    struct error e = {0};
    assert_false(read_all(-1, &e));
    assert_int_equal(e.code, ERROR_IO);
}

/* --- what goes wrong around it */

static void memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    int fd = good_file();
    struct error e = {0};
    mem_fail_nth(1);
    assert_false(read_all(fd, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    e = (struct error){0};
    mem_fail_nth(1);
    assert_false(packed_file_write(fd, &head, weights, pool, &nobody, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    mem_fail_nth(0);
    close(fd);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    struct error e = {0};
    int full = open("/dev/full", O_RDWR);
    assert_false(packed_file_write(full, &head, weights, pool, &nobody, &e));
    assert_true(e.code == ERROR_IO && strstr(e.text, "No space left on device") != NULL);
    close(full);

    signal(SIGXFSZ, SIG_IGN);
    char path[] = "/tmp/puna-packed-XXXXXX";
    int fd = mkstemp(path);
    struct rlimit before = {0}, low;
    assert_true(fd >= 0 && unlink(path) == 0 && getrlimit(RLIMIT_FSIZE, &before) == 0);
    low = before;
    low.rlim_cur = DATA_AT + PACKED_FILE_CHUNK + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    bool ok = packed_file_write(fd, &head, weights, pool, &nobody, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(ok);
    assert_true(e.code == ERROR_IO && strstr(e.text, "File too large") != NULL);
    assert_false(read_all(fd, NULL));
    close(fd);
}

static void a_pending_signal_ends_the_writing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        pthread_sigmask(SIG_BLOCK, &blockable, NULL);
        kill(getpid(), signals[i]);
        int fd = empty_file(), taken = 0;
        struct error e = {0};
        bool ok = packed_file_write(fd, &head, weights, pool, &nobody, &e);
        assert_int_equal(sigwait(&blockable, &taken), 0);
        assert_int_equal(taken, signals[i]);
        pthread_sigmask(SIG_UNBLOCK, &blockable, NULL);
        assert_false(ok);
        assert_int_equal(e.code, ERROR_INTERRUPTED);
        assert_false(read_all(fd, NULL));
        close(fd);
    }
}

struct seen {
    const char *what;
    uint64_t last, total;
};

static void see(void *argument, const char *what, uint64_t done, uint64_t total)
{
    struct seen *s = argument;
    assert_true(done >= s->last && done <= total && total == N_BYTES);
    assert_true(s->what == NULL || strcmp(s->what, what) == 0);
    *s = (struct seen){what, done, total};
}

static void progress_ends_at_all_bytes(void **state)
{
    (void)state;
    static uint8_t dst[N_BYTES];
    struct seen seen = {0};
    struct model_watch watch = {.progress = see, .argument = &seen};
    int fd = empty_file();
    assert_true(packed_file_write(fd, &head, weights, pool, &watch, NULL));
    assert_string_equal(seen.what, "storing");
    assert_int_equal(seen.last, N_BYTES);
    struct packed_file f;
    seen = (struct seen){0};
    assert_true(packed_file_open(&f, fd, NULL, NULL) &&
                packed_file_read(&f, dst, pool, &watch, NULL));
    assert_string_equal(seen.what, "loading");
    assert_int_equal(seen.last, N_BYTES);
    packed_file_finish(&f);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_bytes_lie_where_the_document_says),
        cmocka_unit_test(an_identity_can_be_replaced),
        cmocka_unit_test(bad_files_are_refused_with_what_is_wrong),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_file_that_is_cut_off_while_it_is_read_is_refused),
        cmocka_unit_test(every_bit_of_head_and_table_counts),
        cmocka_unit_test(what_is_not_wanted_is_refused_before_memory_is_taken),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(a_pending_signal_ends_the_writing),
        cmocka_unit_test(progress_ends_at_all_bytes),
    };
    return cmocka_run_group_tests(tests, make_pool, destroy_pool);
}
