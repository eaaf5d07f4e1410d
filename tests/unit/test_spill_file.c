/* test_spill_file.c - files of single pages: what was written is read, for its own prefix alone. */
#include "base/mem.h"
#include "engine/spill_file.h"

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

/* More tokens than are compared at once. Offsets as docs/CACHE.md has them. */
enum {
    N_TOKENS = 1088,
    PAGE_BYTES = 5000,
    VERSION_AT = 8,
    MAKER_AT = 16,
    SALT_AT = 32,
    N_TOKENS_AT = 40,
    PAGE_BYTES_AT = 48,
    CHECKSUM_AT = 56,
    TOKENS_AT = 72,
    PAGE_AT = TOKENS_AT + 4 * N_TOKENS,
    FILE_BYTES = PAGE_AT + PAGE_BYTES
};

static uint32_t tokens[N_TOKENS];
static uint8_t page[PAGE_BYTES];
static struct spill_prefix prefix = {.maker = {{1, 2, 3}},
                                     .salt = 0x123456789ABCDEF,
                                     .tokens = tokens,
                                     .n_tokens = N_TOKENS,
                                     .page_bytes = PAGE_BYTES};

static int fill(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_TOKENS; i++) {
        tokens[i] = i * i;
    }
    for (uint32_t i = 0; i < PAGE_BYTES; i++) {
        page[i] = (uint8_t)(i * i >> 7);
    }
    return 0;
}

static int empty_file(void)
{
    int fd = memfd_create("page", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int good_file(void)
{
    int fd = empty_file();
    assert_true(spill_file_write(fd, &prefix, page, NULL));
    return fd;
}

static bool read_page(int fd, const struct spill_prefix *p, struct error *e)
{
    static uint8_t dst[2 * PAGE_BYTES];
    memset(dst, 0, sizeof dst);
    bool ok = spill_file_read(fd, p, dst, e);
    if (ok) {
        assert_memory_equal(dst, page, PAGE_BYTES);
    }
    return ok;
}

static void expect_refusal(const char *name, int fd, const struct spill_prefix *p,
                           const char *message)
{
    struct error e = {0};
    if (read_page(fd, p, &e)) {
        fail_msg("%s: read", name);
    }
    if (e.code != ERROR_FORMAT || strstr(e.text, message) == NULL) {
        fail_msg("%s: code %d '%s', expected '%s'", name, (int)e.code, e.text, message);
    }
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    int fd = good_file();
    struct stat s;
    assert_true(read_page(fd, &prefix, NULL));
    assert_int_equal(fstat(fd, &s), 0);
    assert_int_equal(s.st_size, FILE_BYTES);
    assert_int_equal(spill_file_bytes(&prefix), FILE_BYTES);
    close(fd);
}

static void the_bytes_lie_where_the_document_says(void **state)
{
    (void)state;
    int fd = good_file();
    static uint8_t bytes[FILE_BYTES];
    uint64_t n_tokens = N_TOKENS, page_bytes = PAGE_BYTES;
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
    assert_memory_equal(bytes, "PUNApage\1\0\0\0\0\0\0\0", 16);
    assert_memory_equal(bytes + MAKER_AT, &prefix.maker, 16);
    assert_memory_equal(bytes + SALT_AT, &prefix.salt, 8);
    assert_memory_equal(bytes + N_TOKENS_AT, &n_tokens, 8);
    assert_memory_equal(bytes + PAGE_BYTES_AT, &page_bytes, 8);
    assert_memory_equal(bytes + TOKENS_AT, tokens, sizeof tokens);
    assert_memory_equal(bytes + PAGE_AT, page, PAGE_BYTES);
    /* the name: of the head up to the checksum and the digest of the tokens */
    uint8_t named[CHECKSUM_AT + 16];
    struct digest d = digest_of(tokens, sizeof tokens), parts[2];
    memcpy(named, bytes, CHECKSUM_AT);
    memcpy(named + CHECKSUM_AT, &d, 16);
    parts[0] = digest_of(named, sizeof named);
    assert_true(digest_eq(parts[0], spill_file_name(&prefix)));
    parts[1] = digest_of(page, PAGE_BYTES);
    d = digest_of(parts, sizeof parts);
    assert_memory_equal(bytes + CHECKSUM_AT, &d, 16);
    close(fd);
}

static void a_file_is_of_its_own_prefix_alone(void **state)
{
    (void)state;
    int fd = good_file();
    uint32_t other[N_TOKENS];
    const struct {
        const char *name, *message;
        size_t changed; /* token, N_TOKENS: none */
        struct spill_prefix prefix;
    } cases[] = {
        {"another model",
         "of another model",
         N_TOKENS,
         {{{1, 2, 4}}, prefix.salt, other, N_TOKENS, PAGE_BYTES}},
        {"another salt",
         "of another prefix",
         N_TOKENS,
         {prefix.maker, prefix.salt + 1, other, N_TOKENS, PAGE_BYTES}},
        {"another length",
         "of another prefix",
         N_TOKENS,
         {prefix.maker, prefix.salt, other, N_TOKENS - 64, PAGE_BYTES}},
        {"another page",
         "9424 bytes with a page of 5000, expected 9425 with 5001",
         N_TOKENS,
         {prefix.maker, prefix.salt, other, N_TOKENS, PAGE_BYTES + 1}},
        {"the first token",
         "of another prefix",
         0,
         {prefix.maker, prefix.salt, other, N_TOKENS, PAGE_BYTES}},
        {"a token between",
         "of another prefix",
         1024,
         {prefix.maker, prefix.salt, other, N_TOKENS, PAGE_BYTES}},
        {"the last token",
         "of another prefix",
         N_TOKENS - 1,
         {prefix.maker, prefix.salt, other, N_TOKENS, PAGE_BYTES}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(other, tokens, sizeof tokens);
        if (cases[i].changed < N_TOKENS) {
            other[cases[i].changed] ^= 1u << 31;
        }
        assert_false(digest_eq(spill_file_name(&cases[i].prefix), spill_file_name(&prefix)));
        expect_refusal(cases[i].name, fd, &cases[i].prefix, cases[i].message);
    }
    memcpy(other, tokens, sizeof tokens);
    struct spill_prefix same = prefix;
    same.tokens = other;
    assert_true(read_page(fd, &same, NULL));
    close(fd);
}

static void every_bit_of_a_file_counts(void **state)
{
    (void)state;
    int fd = good_file();
    for (off_t at = 0; at < FILE_BYTES; at++) {
        for (int bit = at % 3; bit < 8; bit += at < TOKENS_AT ? 1 : 3) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            expect_refusal("a changed bit", fd, &prefix, "");
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
    }
    assert_true(read_page(fd, &prefix, NULL));
    close(fd);
}

static const struct {
    const char *name;
    off_t at;
    size_t n;
    uint64_t value; /* n bytes of it replace those at `at` */
    const char *message;
} bad_files[] = {
    {"another magic", 4, 1, 'P', "not a file of keys and values"},
    {"an older version", VERSION_AT, 8, 0, "version 0, expected 1"},
    {"a version of 64 bits", VERSION_AT, 8, (UINT64_C(1) << 32) + 1, "version 4294967297"},
    {"no tokens", N_TOKENS_AT, 8, 0, "of another prefix"},
    {"all tokens there are", N_TOKENS_AT, 8, UINT64_MAX, "of another prefix"},
    {"no page", PAGE_BYTES_AT, 8, 0, "with a page of 0"},
    {"a page of all bytes", PAGE_BYTES_AT, 8, UINT64_MAX, "a page of 18446744073709551615"},
    {"another checksum", CHECKSUM_AT, 1, 0x11, "the page is damaged"},
    {"a page changed at its end", FILE_BYTES - 1, 1, 0x77, "the page is damaged"},
};

static void bad_files_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        int fd = good_file();
        ssize_t n = (ssize_t)bad_files[i].n;
        assert_int_equal(pwrite(fd, &bad_files[i].value, bad_files[i].n, bad_files[i].at), n);
        expect_refusal(bad_files[i].name, fd, &prefix, bad_files[i].message);
        close(fd);
    }
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    static const off_t ends[] = {
        0,           1,       8,           TOKENS_AT - 1,  TOKENS_AT,     TOKENS_AT + 9,
        PAGE_AT - 1, PAGE_AT, PAGE_AT + 1, FILE_BYTES - 1, FILE_BYTES + 1};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        int fd = good_file();
        assert_int_equal(ftruncate(fd, ends[i]), 0);
        expect_refusal("cut off", fd, &prefix, ends[i] < TOKENS_AT ? "ends at byte" : "bytes with");
        close(fd);
    }
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    int ends[2], folder = open("/", O_RDONLY | O_DIRECTORY);
    assert_int_equal(pipe(ends), 0);
    expect_refusal("a pipe", ends[0], &prefix, "not a regular file");
    expect_refusal("a folder", folder, &prefix, "not a regular file");
    close(ends[0]);
    close(ends[1]);
    close(folder);
    struct error e = {0};
    assert_false(read_page(-1, &prefix, &e));
    assert_int_equal(e.code, ERROR_IO);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    struct error e = {0};
    int full = open("/dev/full", O_RDWR);
    assert_false(spill_file_write(full, &prefix, page, &e));
    assert_true(e.code == ERROR_IO && strstr(e.text, "No space left on device") != NULL);
    close(full);

    signal(SIGXFSZ, SIG_IGN);
    char path[] = "/tmp/puna-page-XXXXXX";
    int fd = mkstemp(path);
    struct rlimit before = {0}, low;
    assert_true(fd >= 0 && unlink(path) == 0 && getrlimit(RLIMIT_FSIZE, &before) == 0);
    low = before;
    low.rlim_cur = PAGE_AT + 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    bool ok = spill_file_write(fd, &prefix, page, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(ok);
    assert_true(e.code == ERROR_IO && strstr(e.text, "File too large") != NULL);
    assert_false(read_page(fd, &prefix, NULL));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_bytes_lie_where_the_document_says),
        cmocka_unit_test(a_file_is_of_its_own_prefix_alone),
        cmocka_unit_test(every_bit_of_a_file_counts),
        cmocka_unit_test(bad_files_are_refused_with_what_is_wrong),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests_name("spilled page", tests, fill, NULL);
}
