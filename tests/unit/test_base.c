/* test_base.c - errors, strings, growing buffers, base64, checked memory and digests. */
#include "base/base64.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"

#include <ctype.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- errors */

static void an_error_keeps_code_and_text_and_returns_false(void **state)
{
    (void)state;
    struct error e = {0};
    assert_false(error_set(&e, ERROR_FORMAT, "tensor '%s': %d bytes", "x", 3));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_string_equal(e.text, "tensor 'x': 3 bytes");
    assert_false(error_prefix(&e, "%s", "a.gguf"));
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_string_equal(e.text, "a.gguf: tensor 'x': 3 bytes");
    assert_false(error_set(NULL, ERROR_IO, "nobody listens"));
    assert_false(error_prefix(NULL, "nobody"));
}

/* Texts of every length about the limit, of characters of 1 to 4 bytes, end on a whole one. */
static void a_text_that_is_too_long_is_cut_on_a_code_point(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\xA6\x99"};
    for (size_t letter = 0; letter < 4; letter++) {
        for (size_t n_before = 0; n_before < 4; n_before++) {
            char text[ERROR_TEXT_BYTES * 2] = "xyz";
            size_t n = n_before;
            while (n + 5 < sizeof text) {
                n += (size_t)snprintf(text + n, sizeof text - n, "%s", letters[letter]);
            }
            struct error e = {0};
            error_set(&e, ERROR_IO, "%s", text);
            struct str cut = str_from(e.text);
            assert_true(cut.n < ERROR_TEXT_BYTES && cut.n + 4 >= ERROR_TEXT_BYTES - 1);
            assert_int_equal(str_complete_utf8(cut), cut.n);
            assert_memory_equal(cut.p, text, cut.n);
            error_prefix(&e, "%s", "somewhere");
            cut = str_from(e.text);
            assert_int_equal(str_complete_utf8(cut), cut.n);
            error_prefix(&e, "%s", text);
            cut = str_from(e.text);
            assert_true(cut.n < ERROR_TEXT_BYTES);
            assert_int_equal(str_complete_utf8(cut), cut.n);
        }
    }
}

static void every_code_but_none_has_an_exit_code_of_its_own(void **state)
{
    (void)state;
    for (int a = ERROR_NONE + 1; a < ERROR_CODE_COUNT; a++) {
        int exit_code = error_exit_code((enum error_code)a);
        assert_true(exit_code > 0 && exit_code < 256);
        for (int b = ERROR_NONE + 1; b < a; b++) {
            assert_true(error_exit_code((enum error_code)b) != exit_code);
        }
    }
    assert_int_equal(error_exit_code(ERROR_CODE_COUNT), error_exit_code(ERROR_INTERNAL));
}

/* --- strings */

static void encoding_and_decoding_agree_on_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) {
            continue;
        }
        char bytes[4];
        size_t n = str_encode_utf8(c, bytes);
        uint32_t got = UINT32_MAX;
        if (str_decode_utf8((struct str){bytes, n}, &got) != n || got != c) {
            fail_msg("U+%04X came back as U+%04X", c, got);
        }
        if (n > 1 && str_decode_utf8((struct str){bytes, n - 1}, &got) != 0) {
            fail_msg("U+%04X was read without its last byte", c);
        }
    }
}

static void malformed_bytes_are_no_code_point(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xBF",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xED\xBF\xBF",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF8\x88\x80\x80",
                                      "\xFE",
                                      "\xFF",
                                      "\xC2\x41",
                                      "\xE2\x82\x41",
                                      "\xF0\x9F\xA6\x41"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t c = 7;
        assert_int_equal(str_decode_utf8(str_from(bad[i]), &c), 0);
        assert_int_equal(c, 7);
    }
}

static void half_a_sequence_at_the_end_is_left_for_later(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n_complete;
    } cases[] = {{"", 0},          {"ab", 2},           {"a\xC3", 1},           {"a\xE2\x82", 1},
                 {"\xF0\x9F", 0},  {"\xF0\x9F\xA6", 0}, {"\xC3\xA9", 2},        {"a\x80", 2},
                 {"a\xE0\x80", 3}, {"a\xFF", 2},        {"\x80\x80\x80\x80", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(str_complete_utf8(str_from(cases[i].text)), cases[i].n_complete);
    }
}

static void a_shown_text_is_the_whole_or_ends_with_a_code_point(void **state)
{
    (void)state;
    char text[3 * STR_SHOWN_BYTES];
    for (size_t n = 0; n <= STR_SHOWN_BYTES; n++) {
        memset(text, '\xC3', n); /* no UTF-8 at all */
        assert_int_equal(str_shown((struct str){text, n}).n, n);
    }
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 <= sizeof text; i += 3) {
            memcpy(text + i, "\xE2\x82\xAC", 3);
        }
        struct str shown = str_shown((struct str){text, sizeof text - 3});
        assert_ptr_equal(shown.p, text);
        assert_true(shown.n <= STR_SHOWN_BYTES && shown.n > STR_SHOWN_BYTES - 3);
        assert_int_equal((shown.n - shift) % 3, 0);
    }
}

static void strings_compare_by_their_bytes(void **state)
{
    (void)state;
    struct str nothing = {NULL, 0};
    assert_true(str_eq(nothing, STR("")));
    assert_true(str_eq(STR("a\0b"), (struct str){"a\0b", 3}));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_starts_with(STR("ab"), nothing));
    assert_true(str_starts_with(STR("ab"), STR("ab")));
    assert_false(str_starts_with(STR("a"), STR("ab")));
    assert_true(str_eq(str_skip(STR("abc"), 2), STR("c")));
}

static void a_hexadecimal_digit_is_what_the_library_says(void **state)
{
    (void)state;
    for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
        char text[2] = {(char)c, '\0'};
        int expected = isxdigit((unsigned char)c) ? (int)strtol(text, NULL, 16) : -1;
        assert_int_equal(str_hex_digit((char)c), expected);
    }
}

static void the_precision_of_a_huge_string_is_not_negative(void **state)
{
    (void)state;
    assert_int_equal(str_precision(STR("abc")), 3);
    assert_int_equal(str_precision((struct str){"", (size_t)INT_MAX + 1}), INT_MAX);
    assert_int_equal(str_precision((struct str){"", SIZE_MAX}), INT_MAX);
}

/* --- buffers */

static void a_buffer_grows_to_its_maximum_and_no_further(void **state)
{
    (void)state;
    struct buf b;
    struct error e = {0};
    buf_init(&b, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(buf_append_byte(&b, (char)i, &e));
        assert_true(b.capacity <= 1000);
    }
    assert_false(b.is_full);
    assert_false(buf_append_byte(&b, 'x', &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_non_null(strstr(e.text, "1000"));
    assert_true(b.is_full);
    assert_int_equal(b.n, 1000);
    assert_false(buf_reserve(&b, SIZE_MAX, &e));
    assert_true(buf_append(&b, (struct str){NULL, 0}, &e));
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(b.data[i], (char)i);
    }
    buf_finish(&b);
    assert_null(b.data);
    assert_true(buf_append_byte(&b, 'y', &e));
    buf_finish(&b);
}

static void printing_and_consuming_move_bytes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(buf_printf(&b, NULL, "%s %d", "number", 42));
    assert_true(str_eq(buf_str(&b), STR("number 42")));
    buf_consume(&b, 7);
    assert_true(str_eq(buf_str(&b), STR("42")));
    assert_true(buf_printf(&b, NULL, "%97s", "x")); /* its NUL needs the last byte */
    assert_false(buf_printf(&b, NULL, "y"));
    assert_int_equal(b.n, 99);
    buf_clear(&b);
    assert_int_equal(buf_str(&b).n, 0);
    buf_finish(&b);
}

static void the_capacity_of_a_buffer_never_passes_its_maximum(void **state)
{
    (void)state;
    for (size_t max = 1; max < 300; max += 13) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++) {
            assert_true(buf_append_byte(&b, 'x', NULL));
            assert_true(b.n <= b.capacity && b.capacity <= max);
        }
        assert_false(buf_append_byte(&b, 'x', NULL));
        buf_finish(&b);
    }
}

static void nothing_is_consumed_of_an_empty_buffer(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_consume(&b, 0); /* has no memory yet: the sanitizer watches */
    assert_int_equal(b.n, 0);
    buf_finish(&b);
}

static void a_buffer_keeps_its_bytes_when_memory_runs_out(void **state)
{
    (void)state;
    struct buf b;
    struct error e = {0};
    buf_init(&b, 1 << 16);
    assert_true(buf_append(&b, STR("kept"), &e));
    static const char more[200];
    mem_fail_nth(1);
    assert_false(buf_append(&b, (struct str){more, sizeof more}, &e));
    mem_fail_nth(0);
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_true(str_eq(buf_str(&b), STR("kept")));
    buf_finish(&b);
}

/* --- base64 */

/* The texts of RFC 4648, section 10, and some whose digits differ between the alphabets. */
static void base64_is_that_of_the_specification(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *padded, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xFB\xFF\xBF", "+/+/", "-_-_"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf padded, url, bytes;
        size_t n = strlen(rows[i].bytes);
        buf_init(&padded, 100);
        buf_init(&url, 100);
        buf_init(&bytes, 100);
        assert_true(base64_append(rows[i].bytes, n, BASE64_PADDED, &padded, NULL));
        assert_true(base64_append(rows[i].bytes, n, BASE64_URL, &url, NULL));
        assert_true(str_eq(buf_str(&padded), str_from(rows[i].padded)));
        assert_true(str_eq(buf_str(&url), str_from(rows[i].url)));
        assert_int_equal(base64_is_url(buf_str(&url)), n > 0);
        assert_true(base64_decode_url(buf_str(&url), &bytes, NULL));
        for (size_t k = 0; k < bytes.n; k++) {
            assert_int_equal(base64_url_byte(buf_str(&url), k), (unsigned char)bytes.data[k]);
        }
        assert_int_equal(base64_url_byte(buf_str(&url), bytes.n), -1);
        assert_true(str_eq(buf_str(&bytes), str_from(rows[i].bytes)));
        buf_finish(&padded);
        buf_finish(&url);
        buf_finish(&bytes);
    }
}

static void bytes_have_one_text_in_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "A",    "AAAAA", "Zh",   "ZgA=",  "Zm9",
                                      "Zg==", "Zm+v", "Zm/v",  "Zm v", "Zm\nv", "Zm\x80v"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(base64_is_url(str_from(bad[i])));
    }
    assert_false(base64_is_url((struct str){"Zm\0v", 4}));
}

static void base64_that_has_no_room_leaves_the_buffer(void **state)
{
    (void)state;
    struct error e = {0};
    struct buf b;
    buf_init(&b, 5);
    assert_true(buf_append(&b, STR("abc"), &e));
    assert_false(base64_append("foo", 3, BASE64_URL, &b, &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_false(base64_decode_url(STR("Zm9v"), &b, &e));
    assert_true(str_eq(buf_str(&b), STR("abc")));
    buf_finish(&b);
}

/* --- memory */

static void products_and_sums_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t out = 5;
    assert_true(mem_mul(SIZE_MAX / 2, 2, &out));
    assert_int_equal(out, SIZE_MAX - 1);
    assert_false(mem_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_true(mem_add(SIZE_MAX - 1, 1, &out));
    assert_false(mem_add(SIZE_MAX, 1, &out));
    struct error e = {0};
    assert_null(mem_alloc(SIZE_MAX / 4, 8, "table", &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_non_null(strstr(e.text, "table"));
    assert_null(mem_resize(NULL, SIZE_MAX / 4, 8, "table", &e));
    assert_null(mem_alloc_pages(SIZE_MAX, "table", &e));
    assert_null(mem_alloc_pages(0, "table", &e));
}

static void memory_is_zeroed_and_pages_are_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, (2 << 20) - 1, 2 << 20, (4 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *p = mem_alloc_pages(sizes[i], "pages", NULL);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (2 << 20), 0);
        for (size_t k = 0; k < sizes[i]; k += 512) {
            assert_int_equal(p[k], 0);
        }
        p[sizes[i] - 1] = 1;
        mem_free_pages(p, sizes[i]);
    }
    mem_free_pages(NULL, 5);
    uint64_t *words = mem_alloc(100, sizeof *words, "words", NULL);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(words[i], 0);
    }
    mem_free(words);
    void *nothing = mem_alloc(0, 8, "nothing", NULL);
    assert_non_null(nothing);
    mem_free(nothing);
}

/* The child's last act; the parent's memory is a copy of its own. */
static void who_writes_to_sealed_pages_dies(void **state)
{
    (void)state;
    const size_t n_bytes = (2 << 20) + 1;
    volatile uint8_t *p = mem_alloc_pages(n_bytes, "pages", NULL);
    assert_non_null(p);
    p[0] = 7;
    p[n_bytes - 1] = 8;
    assert_true(mem_seal_pages((void *)p, n_bytes, "pages", NULL));
    for (size_t i = 0; i < n_bytes; i += n_bytes - 1) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL); /* a sanitizer's would say more than is wanted */
            p[i] = 1;
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
    assert_true(p[0] == 7 && p[n_bytes - 1] == 8);
    mem_free_pages((void *)p, n_bytes);
    struct error e = {0};
    assert_false(mem_seal_pages((void *)p, SIZE_MAX, "pages", &e));
    assert_int_equal(e.code, ERROR_MEMORY);
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    mem_fail_nth(2);
    void *first = mem_alloc(1, 1, "a", NULL);
    void *second = mem_alloc(1, 1, "b", NULL);
    void *third = mem_alloc(1, 1, "c", NULL);
    assert_true(first != NULL && second == NULL && third != NULL);
    assert_int_equal(mem_count(), 3);
    mem_free(first);
    mem_free(third);
    mem_fail_nth(1);
    assert_null(mem_alloc_pages(4096, "pages", NULL));
    mem_fail_nth(0);
}

/* 64 TiB of address space are there for the asking; memory is not. */
static void more_pages_than_the_machine_holds_are_an_error_with_the_numbers(void **state)
{
    (void)state;
    const size_t n_bytes = (size_t)1 << 46;
    struct error e = {0};
    void *p = mem_alloc_pages(n_bytes, "KV cache", &e);
    assert_null(p);
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_non_null(strstr(e.text, "KV cache needs 70368744177664 bytes"));
    assert_true(mem_available() > 0 && mem_available() < n_bytes);
}

/* Pages that were promised are not there for others, touched or not. */
static void blocks_that_fit_alone_but_not_together_are_refused(void **state)
{
    (void)state;
    const size_t n_bytes = mem_available() / 3 * 2;
    struct error e = {0};
    void *first = mem_alloc_pages(n_bytes, "weights", &e);
    if (first == NULL) {
        print_message("SKIPPED: this machine promises no more than it has: %s\n", e.text);
        skip();
    }
    assert_null(mem_alloc_pages(n_bytes, "KV cache", &e));
    assert_int_equal(e.code, ERROR_MEMORY);
    mem_free_pages(first, n_bytes);
    void *second = mem_alloc_pages(n_bytes, "KV cache", &e);
    assert_non_null(second);
    mem_free_pages(second, n_bytes);
}

static size_t untouched_with(const char *status)
{
    char path[] = "/tmp/puna-status-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, status, strlen(status)) == (ssize_t)strlen(status));
    size_t n = mem_untouched(path);
    close(fd);
    unlink(path);
    return n;
}

static void pages_in_memory_and_in_swap_are_promised_no_more(void **state)
{
    (void)state;
    const size_t mib = 1 << 20, n_bytes = 8 * mib;
    size_t before = untouched_with("RssAnon:\t       0 kB\n");
    void *p = mem_alloc_pages(n_bytes, "pages", NULL);
    assert_non_null(p);
    assert_int_equal(untouched_with("RssAnon:\t       0 kB\n"), before + n_bytes);
    assert_int_equal(untouched_with("RssAnon:\t    1024 kB\nRssFile:\t    4096 kB\n"
                                    "VmSwap:\t    2048 kB\n"),
                     before + n_bytes - 3 * mib);
    assert_int_equal(untouched_with("RssAnon:\t 1048576 kB\n"), 0);
    assert_int_equal(untouched_with("Name:\tpuna\n"), 0);
    mem_free_pages(p, n_bytes);
    assert_int_equal(untouched_with("RssAnon:\t       0 kB\n"), before);
}

/* --- digests */

/* What xxhsum -H2 prints. */
static void a_digest_is_that_of_xxhsum(void **state)
{
    (void)state;
    static const uint8_t of_nothing[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                           0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    static const uint8_t of_zeros[16] = {0x3f, 0xb9, 0x4a, 0xea, 0x6d, 0x09, 0xb9, 0x72,
                                         0x24, 0xc1, 0xea, 0x60, 0x74, 0xdd, 0x58, 0x8c};
    static const char zeros[1000];
    struct digest nothing = digest_of("", 0), zero = digest_of(zeros, sizeof zeros);
    assert_memory_equal(nothing.bytes, of_nothing, 16);
    assert_memory_equal(zero.bytes, of_zeros, 16);
    assert_false(digest_eq(nothing, zero));
    assert_true(digest_eq(zero, digest_of(zeros, sizeof zeros)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_keeps_code_and_text_and_returns_false),
        cmocka_unit_test(a_text_that_is_too_long_is_cut_on_a_code_point),
        cmocka_unit_test(every_code_but_none_has_an_exit_code_of_its_own),
        cmocka_unit_test(encoding_and_decoding_agree_on_every_code_point),
        cmocka_unit_test(malformed_bytes_are_no_code_point),
        cmocka_unit_test(half_a_sequence_at_the_end_is_left_for_later),
        cmocka_unit_test(a_shown_text_is_the_whole_or_ends_with_a_code_point),
        cmocka_unit_test(strings_compare_by_their_bytes),
        cmocka_unit_test(a_hexadecimal_digit_is_what_the_library_says),
        cmocka_unit_test(the_precision_of_a_huge_string_is_not_negative),
        cmocka_unit_test(a_buffer_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(printing_and_consuming_move_bytes),
        cmocka_unit_test(the_capacity_of_a_buffer_never_passes_its_maximum),
        cmocka_unit_test(nothing_is_consumed_of_an_empty_buffer),
        cmocka_unit_test(a_buffer_keeps_its_bytes_when_memory_runs_out),
        cmocka_unit_test(base64_is_that_of_the_specification),
        cmocka_unit_test(bytes_have_one_text_in_base64),
        cmocka_unit_test(base64_that_has_no_room_leaves_the_buffer),
        cmocka_unit_test(products_and_sums_that_overflow_are_refused),
        cmocka_unit_test(memory_is_zeroed_and_pages_are_aligned),
        cmocka_unit_test(who_writes_to_sealed_pages_dies),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(more_pages_than_the_machine_holds_are_an_error_with_the_numbers),
        cmocka_unit_test(blocks_that_fit_alone_but_not_together_are_refused),
        cmocka_unit_test(pages_in_memory_and_in_swap_are_promised_no_more),
        cmocka_unit_test(a_digest_is_that_of_xxhsum),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
