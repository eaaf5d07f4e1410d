/* test_gguf.c - the GGUF reader: good files of every shape, and a table of bad ones. Expectations
 * come from the GGUF specification; tests/oracle/gguf_compare.py compares real files. */
#include "base/mem.h"
#include "format/gguf.h"
#include "gguf_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                GGUF_TEXT_HEAD
#define U32                 GGUF_TEXT_U32
#define TEXT                GGUF_TEXT_STR
#define TENSOR              GGUF_TEXT_TENSOR
#define MATRIX              GGUF_TEXT_MATRIX
#define ARRAY(key, type, n) " s:" key " 4:9 4:" #type " 8:" #n
#define DATA(n_bytes)       " pad:32 zero:" #n_bytes
#define SPLIT(index, n_shards, n_tensors)                                                          \
    " s:split.no 4:2 2:" #index " s:split.count 4:2 2:" #n_shards                                  \
    " s:split.tensors.count 4:5 4:" #n_tensors

/* The bytes in a block of exactly their size, so that ASan sees any read past them. */
static uint8_t *exact_copy(const void *p, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    return copy;
}

struct file {
    uint8_t *data;
    size_t n;
    struct gguf *g;
};

static struct file parse(const char *text, struct error *e)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    gguf_text_append(&b, text);
    struct file f = {.data = exact_copy(b.n > 0 ? b.data : "", b.n), .n = b.n};
    buf_finish(&b);
    f.g = gguf_parse(f.data, f.n, e);
    return f;
}

static void finish(struct file *f)
{
    gguf_destroy(f->g);
    free(f->data);
}

/* --- bad files */

struct bad_file {
    const char *name;
    const char *text; /* see gguf_text.h */
    enum error_code code;
    const char *message; /* must occur in the error's text */
};

static const struct bad_file foreign_files[] = {
    {"empty", "", ERROR_FORMAT, "0 bytes"},
    {"three bytes", "raw:GGU", ERROR_FORMAT, "3 bytes"},
    {"random bytes", "8:0x1122334455667788 zero:64", ERROR_FORMAT, "88 77 66 55"},
    {"lower-case magic", "raw:gguf 4:3 8:0 8:0", ERROR_FORMAT, "not a GGUF file"},
    {"magic of a big-endian file", "raw:FUGG zero:60", ERROR_UNSUPPORTED, "big-endian"},
    {"GGML", "4:0x67676d6c 4:32000 zero:64", ERROR_UNSUPPORTED, "GGML"},
    {"GGMF", "4:0x67676d66 4:1 zero:64", ERROR_UNSUPPORTED, "GGMF"},
    {"GGJT", "4:0x67676a74 4:3 zero:64", ERROR_UNSUPPORTED, "GGJT"},
    {"GGLA", "4:0x67676c61 4:1 zero:64", ERROR_UNSUPPORTED, "GGLA"},
    {"safetensors", "8:64 raw:{\"a\":{\"dtype\":\"F32\"} zero:64", ERROR_FORMAT, "safetensors"},
    {"zip", "raw:PK 1:3 1:4 zero:64", ERROR_FORMAT, "zip"},
    {"gzip", "1:0x1f 1:0x8b 1:8 zero:64", ERROR_FORMAT, "gzip"},
    {"HTML", "raw:<!DOCTYPE 1:32 raw:html><html></html>", ERROR_FORMAT, "HTML"},
    {"JSON", "raw:{\"error\":\"404\"}", ERROR_FORMAT, "JSON"},
    {"Git LFS pointer", "raw:version 1:32 raw:https://git-lfs.github.com/spec/v1", ERROR_FORMAT,
     "Git LFS"},
};

static const struct bad_file bad_headers[] = {
    {"magic alone", "raw:GGUF", ERROR_FORMAT, "ends in header"},
    {"half a version", "raw:GGUF 2:3", ERROR_FORMAT, "4 bytes wanted at offset 4, 2 are left"},
    {"version 0", "raw:GGUF 4:0 8:0 8:0", ERROR_FORMAT, "version 0"},
    {"version 1", "raw:GGUF 4:1 4:0 4:0", ERROR_UNSUPPORTED, "version 1"},
    {"version 4", "raw:GGUF 4:4 8:0 8:0", ERROR_UNSUPPORTED, "version 4"},
    {"version 3 of a big-endian file", "raw:GGUF 4:0x03000000 8:0 8:0", ERROR_UNSUPPORTED,
     "big-endian"},
    {"no counts", "raw:GGUF 4:3", ERROR_FORMAT, "8 bytes wanted at offset 8, 0 are left"},
    {"no number of keys", "raw:GGUF 4:3 8:0 4:0", ERROR_FORMAT, "offset 16, 4 are left"},
    {"keys beyond the limit", HEAD(0, 65537) " zero:64", ERROR_FORMAT, "65537 metadata keys"},
    {"2^64-1 keys", HEAD(0, 0xffffffffffffffff), ERROR_FORMAT,
     "18446744073709551615 metadata keys"},
    {"more keys than the file can hold", HEAD(0, 60000) " zero:64", ERROR_FORMAT,
     "60000 metadata keys need at least 14 bytes each, 64 bytes are left"},
    {"tensors beyond the limit", HEAD(65537, 0) " zero:64", ERROR_FORMAT, "65537 tensors"},
    {"2^64-1 tensors", HEAD(0xffffffffffffffff, 0), ERROR_FORMAT, "18446744073709551615 tensors"},
    {"more tensors than the file can hold", HEAD(5000, 0) " zero:64", ERROR_FORMAT,
     "5000 tensors need at least 33 bytes each, 64 bytes are left"},
};

static const struct bad_file bad_keys[] = {
    {"key longer than the file", HEAD(0, 1) " 8:100 zero:20", ERROR_FORMAT,
     "metadata key 1 of 1: 100 bytes wanted"},
    {"key of 2^63 bytes", HEAD(0, 1) " 8:0x8000000000000000 zero:20", ERROR_FORMAT,
     "9223372036854775808 bytes wanted"},
    {"key of 2^64-1 bytes", HEAD(0, 1) " 8:0xffffffffffffffff zero:20", ERROR_FORMAT,
     "18446744073709551615 bytes wanted"},
    {"empty key", HEAD(0, 1) " s: 4:4 4:1 zero:20", ERROR_FORMAT, "has 0 bytes"},
    {"key of 1025 bytes", HEAD(0, 1) " long:1025 4:4 4:1", ERROR_FORMAT, "has 1025 bytes"},
    {"key with a NUL", HEAD(0, 1) " 8:3 raw:a 1:0 raw:b 4:4 4:1", ERROR_FORMAT, "byte 0x00 at 1"},
    {"key with a terminal escape", HEAD(0, 1) " 8:3 raw:a 1:27 raw:[ 4:4 4:1", ERROR_FORMAT,
     "byte 0x1b at 1"},
    {"key with a C1 control", HEAD(0, 1) " 8:3 raw:a 2:0x9bc2 4:4 4:1", ERROR_FORMAT,
     "byte 0xc2 at 1"},
    {"key of ill-formed UTF-8", HEAD(0, 1) " 8:2 raw:a 1:0xff 4:4 4:1", ERROR_FORMAT,
     "byte 0xff at 1"},
    {"no value type", HEAD(0, 1) " s:abcdefgh", ERROR_FORMAT, "4 bytes wanted"},
    {"value type 13", HEAD(0, 1) " s:k 4:13 4:1", ERROR_FORMAT, "'k': unknown value type 13"},
    {"value type 2^32-1", HEAD(0, 1) " s:k 4:0xffffffff 4:1", ERROR_FORMAT, "type 4294967295"},
    {"u32 cut off", HEAD(0, 1) " s:key 4:4 2:1", ERROR_FORMAT, "'key': the file ends"},
    {"u64 cut off", HEAD(0, 1) " s:key 4:10 4:1", ERROR_FORMAT, "8 bytes wanted"},
    {"no value", HEAD(0, 1) " s:key 4:0", ERROR_FORMAT, "1 bytes wanted"},
    {"bool of 2", HEAD(0, 1) " s:k 4:7 1:2", ERROR_FORMAT, "'k': bool with value 2"},
    {"string longer than the file", HEAD(0, 1) " s:k 4:8 8:9 raw:12345678", ERROR_FORMAT,
     "'k': the file ends in metadata key 1 of 1: 9 bytes wanted"},
    {"string of 2^64-1 bytes", HEAD(0, 1) " s:k 4:8 8:0xffffffffffffffff", ERROR_FORMAT,
     "18446744073709551615 bytes wanted"},
    {"no string length", HEAD(0, 1) " s:k 4:8 4:0", ERROR_FORMAT, "8 bytes wanted"},
    {"second key absent", HEAD(0, 2) TEXT("k", "a-longer-value"), ERROR_FORMAT,
     "metadata key 2 of 2"},
    {"key twice", HEAD(0, 3) U32("a", 1) U32("b", 1) U32("a", 2), ERROR_FORMAT,
     "key 'a' is there twice, as number 1 and 3"},
    {"alignment 0", HEAD(0, 1) U32("general.alignment", 0), ERROR_FORMAT, "alignment' is 0"},
    {"alignment 4", HEAD(0, 1) U32("general.alignment", 4), ERROR_FORMAT, "alignment' is 4"},
    {"alignment 48", HEAD(0, 1) U32("general.alignment", 48), ERROR_FORMAT, "power of two"},
    {"alignment 2^31", HEAD(0, 1) U32("general.alignment", 0x80000000), ERROR_FORMAT, "2147483648"},
    {"alignment as text", HEAD(0, 1) TEXT("general.alignment", "32"), ERROR_FORMAT,
     "type string, expected an integer"},
    {"alignment beyond 32 bits", HEAD(0, 1) " s:general.alignment 4:10 8:0x100000020", ERROR_FORMAT,
     "is 4294967328"},
    {"negative alignment", HEAD(0, 1) " s:general.alignment 4:5 4:0xffffffe0", ERROR_FORMAT,
     "is -32"},
};

static const struct bad_file bad_arrays[] = {
    {"no item type", HEAD(0, 1) " s:key 4:9 1:0", ERROR_FORMAT, "4 bytes wanted"},
    {"item type 13", HEAD(0, 1) ARRAY("k", 13, 1) " 8:0", ERROR_FORMAT, "unknown value type 13"},
    {"array of arrays", HEAD(0, 1) ARRAY("k", 9, 1) " 4:4 8:1 4:1", ERROR_UNSUPPORTED,
     "arrays of arrays"},
    {"no item count", HEAD(0, 1) " s:key 4:9 4:4 4:0", ERROR_FORMAT, "8 bytes wanted"},
    {"2^24+1 items", HEAD(0, 1) ARRAY("k", 0, 16777217), ERROR_FORMAT, "16777217 array items"},
    {"2^64-1 items", HEAD(0, 1) ARRAY("k", 10, 0xffffffffffffffff) " zero:80", ERROR_FORMAT,
     "18446744073709551615 array items"},
    {"item count whose bytes overflow", HEAD(0, 1) ARRAY("k", 10, 0x2000000000000001) " zero:8",
     ERROR_FORMAT, "2305843009213693953 array items"},
    {"u16 items past the end", HEAD(0, 1) ARRAY("k", 2, 11) " zero:21", ERROR_FORMAT,
     "'k': the file ends too early: 11 array items need at least 2 bytes each, 21 bytes are left"},
    {"more strings than lengths fit", HEAD(0, 1) ARRAY("k", 8, 3) " zero:23", ERROR_FORMAT,
     "3 array items need at least 8 bytes each"},
    {"second string past the end", HEAD(0, 1) ARRAY("k", 8, 2) " s:ab 8:9 zero:8", ERROR_FORMAT,
     "'k', string 2 of 2: the file ends"},
    {"string length 2^64-1", HEAD(0, 1) ARRAY("k", 8, 1) " 8:0xffffffffffffffff zero:8",
     ERROR_FORMAT, "string 1 of 1"},
    {"bool of 255", HEAD(0, 1) ARRAY("k", 7, 3) " 1:0 1:1 1:255", ERROR_FORMAT, "value 255"},
};

static const struct bad_file bad_tensors[] = {
    {"name longer than the file", HEAD(1, 0) " 8:1000 zero:64", ERROR_FORMAT,
     "tensor 1 of 1: 1000 bytes wanted"},
    {"empty name", HEAD(1, 0) " s: 4:1 8:1 4:0 8:0 zero:64", ERROR_FORMAT, "has 0 bytes"},
    {"name of 1025 bytes", HEAD(1, 0) " long:1025 4:1 8:1 4:0 8:0 zero:64", ERROR_FORMAT,
     "has 1025 bytes"},
    {"name with a newline", HEAD(1, 0) " 8:2 raw:a 1:10 4:1 8:1 4:0 8:0 zero:64", ERROR_FORMAT,
     "byte 0x0a at 1"},
    {"no dimension", HEAD(1, 0) " s:t 4:0 8:1 4:0 8:0 zero:64", ERROR_FORMAT, "0 dimensions"},
    {"five dimensions", HEAD(1, 0) " s:t 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0 zero:64", ERROR_FORMAT,
     "'t': 5 dimensions"},
    {"2^32-1 dimensions", HEAD(1, 0) " s:t 4:0xffffffff zero:64", ERROR_FORMAT,
     "4294967295 dimensions"},
    {"dimension of 0", HEAD(1, 0) MATRIX("t", 32, 0, 0, 0) DATA(64), ERROR_FORMAT,
     "dimension 1 is 0"},
    {"rows of 0", HEAD(1, 0) TENSOR("t", 0, 0, 0) DATA(64), ERROR_FORMAT, "dimension 0 is 0"},
    {"product beyond 64 bits", HEAD(1, 0) MATRIX("t", 0x100000000, 0x100000000, 0, 0) DATA(64),
     ERROR_FORMAT, "product overflows"},
    {"product that wraps to 0", HEAD(1, 0) MATRIX("t", 0x8000000000000000, 2, 0, 0) DATA(64),
     ERROR_FORMAT, "product overflows"},
    {"bytes beyond 64 bits", HEAD(1, 0) TENSOR("t", 0x4000000000000000, 0, 0) DATA(64),
     ERROR_FORMAT, "overflow 64 bits"},
    {"unsupported type", HEAD(1, 0) TENSOR("blk.0.ffn", 256, 16, 0) DATA(128), ERROR_UNSUPPORTED,
     "tensor 'blk.0.ffn': type IQ2_XXS is not supported"},
    {"integer type", HEAD(1, 0) TENSOR("t", 256, 26, 0) DATA(1024), ERROR_UNSUPPORTED,
     "type I32 is not supported"},
    {"type unknown to GGML", HEAD(1, 0) TENSOR("t", 256, 1000, 0) DATA(128), ERROR_UNSUPPORTED,
     "'t': type 1000 is unknown"},
    {"type 2^32-1", HEAD(1, 0) TENSOR("t", 256, 0xffffffff, 0) DATA(128), ERROR_UNSUPPORTED,
     "type 4294967295 is unknown"},
    {"row of half a block", HEAD(1, 0) TENSOR("t", 48, 8, 0) DATA(64), ERROR_FORMAT,
     "rows of 48 items, type Q8_0 needs a multiple of 32"},
    {"row of half a super-block", HEAD(1, 0) MATRIX("t", 128, 2, 12, 0) DATA(288), ERROR_FORMAT,
     "rows of 128 items, type Q4_K needs a multiple of 256"},
    {"entry cut off in its offset", HEAD(1, 0) " s:tensor 4:1 8:1 4:0 4:0", ERROR_FORMAT,
     "'tensor': the file ends in tensor 1 of 1"},
    {"second entry cut off", HEAD(2, 0) TENSOR("a-rather-long-name-for-a-tensor", 1, 0, 0) " 4:0",
     ERROR_FORMAT, "tensor 2 of 2"},
    {"offset off the alignment", HEAD(1, 0) TENSOR("t", 1, 0, 16) DATA(64), ERROR_FORMAT,
     "offset 16 is not a multiple of the alignment 32"},
    {"offset off a larger alignment",
     HEAD(1, 1) U32("general.alignment", 64) TENSOR("t", 1, 0, 32) DATA(128), ERROR_FORMAT,
     "offset 32 is not a multiple of the alignment 64"},
    {"no data section", HEAD(1, 0) TENSOR("t", 1, 0, 0), ERROR_FORMAT, "data section of 0 bytes"},
    {"data one byte short", HEAD(1, 0) TENSOR("t", 16, 0, 0) DATA(63), ERROR_FORMAT,
     "tensor 't': 64 bytes at 0 pass the end of the data section of 63 bytes"},
    {"offset past the end", HEAD(1, 0) TENSOR("t", 1, 0, 96) DATA(64), ERROR_FORMAT,
     "4 bytes at 96 pass the end"},
    {"offset near 2^64", HEAD(1, 0) TENSOR("t", 16, 0, 0xffffffffffffffe0) DATA(64), ERROR_FORMAT,
     "64 bytes at 18446744073709551584 pass the end"},
    {"overlap", HEAD(2, 0) TENSOR("a", 16, 0, 0) TENSOR("b", 16, 0, 32) DATA(96), ERROR_FORMAT,
     "tensors 'a' and 'b' overlap: 64 bytes at "},
    {"overlap out of order",
     HEAD(3, 0) TENSOR("a", 8, 0, 96) TENSOR("b", 24, 0, 32) TENSOR("c", 8, 0, 0) DATA(128),
     ERROR_FORMAT, "tensors 'b' and 'a' overlap"},
    {"same data twice", HEAD(2, 0) TENSOR("a", 8, 0, 0) TENSOR("b", 8, 0, 0) DATA(32), ERROR_FORMAT,
     "overlap"},
    {"tensor twice", HEAD(2, 0) TENSOR("a", 8, 0, 0) TENSOR("a", 8, 0, 32) DATA(64), ERROR_FORMAT,
     "tensor 'a' is there twice, as number 1 (shard 1) and 2 (shard 1)"},
};

static const struct bad_file bad_splits[] = {
    {"1025 shards", HEAD(0, 3) SPLIT(0, 1025, 0), ERROR_FORMAT, "'split.count' is 1025"},
    {"no shard number", HEAD(0, 1) " s:split.count 4:2 2:2", ERROR_FORMAT,
     "key 'split.no' is missing"},
    {"no number of tensors", HEAD(0, 2) " s:split.count 4:2 2:2 s:split.no 4:2 2:0", ERROR_FORMAT,
     "key 'split.tensors.count' is missing"},
    {"shard number beyond the count", HEAD(0, 3) SPLIT(2, 2, 0), ERROR_FORMAT,
     "'split.no' is 2, expected less than split.count 2"},
    {"shard 2", HEAD(0, 3) SPLIT(1, 2, 0), ERROR_USAGE, "shard 2 of 2; open shard 1"},
    {"one shard of two in memory", HEAD(0, 3) SPLIT(0, 2, 0), ERROR_UNSUPPORTED, "shard 1 of 2"},
    {"another number of tensors", HEAD(0, 3) SPLIT(0, 1, 7), ERROR_FORMAT,
     "0 tensors in 1 files, key 'split.tensors.count' says 7"},
};

static void check_bad_files(const struct bad_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct error e = {0};
        struct file f = parse(files[i].text, &e);
        if (f.g != NULL || e.code != files[i].code || strstr(e.text, files[i].message) == NULL) {
            fail_msg("%s: code %d, text \"%s\"; expected code %d, \"%s\"", files[i].name, e.code,
                     e.text, files[i].code, files[i].message);
        }
        assert_null(strchr(e.text, '\n'));
        finish(&f);
        f = parse(files[i].text, NULL); /* an error nobody asked for */
        assert_null(f.g);
        finish(&f);
    }
}

#define CHECK_BAD_FILES(table) check_bad_files((table), sizeof(table) / sizeof(table)[0])

static void files_of_other_formats_are_named(void **state)
{
    (void)state;
    CHECK_BAD_FILES(foreign_files);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    CHECK_BAD_FILES(bad_headers);
}

static void bad_keys_are_refused(void **state)
{
    (void)state;
    CHECK_BAD_FILES(bad_keys);
}

static void bad_arrays_are_refused(void **state)
{
    (void)state;
    CHECK_BAD_FILES(bad_arrays);
}

static void bad_tensors_are_refused(void **state)
{
    (void)state;
    CHECK_BAD_FILES(bad_tensors);
}

static void bad_split_keys_are_refused(void **state)
{
    (void)state;
    CHECK_BAD_FILES(bad_splits);
}

/* --- good files */

/* Every value type, strings and arrays of each kind, tensors out of order with gaps. */
static const char good_file[] = HEAD(3, 18) /**/
    " s:k.u8 4:0 1:200 s:k.i8 4:1 1:200 s:k.u16 4:2 2:60000 s:k.i16 4:3 2:60000"
    " s:k.u32 4:4 4:4000000000 s:k.i32 4:5 4:4000000000 s:k.f32 4:6 f4:0.1 s:k.bool 4:7 1:1"
    " s:k.string 4:8 s:Meta s:k.u64 4:10 8:0xffffffffffffffff s:k.i64 4:11 8:0xfffffffffffffffe"
    " s:k.f64 4:12 f8:1e300" ARRAY("a.string", 8, 3) " s:first s: s:third" /**/
    ARRAY("a.i16", 3, 2) " 2:0xffff 2:7" ARRAY("a.u8", 0, 2) " 1:255 1:1"  /**/
    ARRAY("a.f32", 6, 2) " f4:-1.5 f4:2" ARRAY("a.f64", 12, 1) " f8:0.25"  /**/
    ARRAY("a.empty", 8, 0)                                                 /**/
    MATRIX("w", 32, 2, 8, 64) TENSOR("norm", 5, 0, 0)                      /**/
    " s:four 4:4 8:2 8:3 8:4 8:5 4:30 8:160 pad:32 zero:64 zero:68 pad:32 zero:240";

static void the_digest_of_the_head_is_of_all_but_the_data(void **state)
{
    (void)state;
    struct file f = parse(good_file, NULL);
    const struct gguf_tensor *norm = gguf_find_tensor(f.g, "norm");
    struct digest before = gguf_head_digest(f.g);
    f.data[norm->file_offset]++; /* the first that has data */
    assert_true(digest_eq(gguf_head_digest(f.g), before));
    f.data[f.n - 1]++;
    assert_true(digest_eq(gguf_head_digest(f.g), before));
    struct str meta = gguf_find(f.g, "k.string")->s;
    f.data[(const uint8_t *)meta.p - f.data]++;
    assert_false(digest_eq(gguf_head_digest(f.g), before));
    finish(&f);
}

static void every_value_type_is_widened(void **state)
{
    (void)state;
    struct error e = {0};
    struct file f = parse(good_file, &e);
    assert_string_equal(e.text, "");
    assert_non_null(f.g);
    assert_int_equal(gguf_version(f.g), 3);
    assert_int_equal(gguf_file_bytes(f.g), f.n);
    assert_int_equal(gguf_n_splits(f.g), 1);
    assert_int_equal(gguf_n_values(f.g), 18);
    assert_int_equal(gguf_find(f.g, "k.u8")->u, 200);
    assert_int_equal(gguf_find(f.g, "k.i8")->i, -56);
    assert_int_equal(gguf_find(f.g, "k.u16")->u, 60000);
    assert_int_equal(gguf_find(f.g, "k.i16")->i, -5536);
    assert_int_equal(gguf_find(f.g, "k.u32")->u, 4000000000u);
    assert_int_equal(gguf_find(f.g, "k.i32")->i, -294967296);
    assert_true(gguf_find(f.g, "k.f32")->f == (double)0.1f);
    assert_int_equal(gguf_find(f.g, "k.bool")->u, 1);
    assert_true(str_eq(gguf_find(f.g, "k.string")->s, STR("Meta")));
    assert_true(gguf_find(f.g, "k.u64")->u == UINT64_MAX);
    assert_int_equal(gguf_find(f.g, "k.i64")->i, -2);
    assert_true(gguf_find(f.g, "k.f64")->f == 1e300);
    assert_null(gguf_find(f.g, "k.u"));
    assert_null(gguf_find(f.g, "k.u88"));
    assert_null(gguf_find(f.g, ""));
    assert_true(str_eq(gguf_value_at(f.g, 1)->key, STR("k.i8")));
    assert_string_equal(gguf_value_type_name(gguf_value_at(f.g, 1)->type), "i8");
    finish(&f);
}

static void arrays_are_read_item_by_item(void **state)
{
    (void)state;
    struct file f = parse(good_file, NULL);
    const struct gguf_value *v = gguf_find(f.g, "a.string");
    assert_int_equal(v->type, GGUF_ARRAY);
    assert_int_equal(v->array_type, GGUF_STRING);
    assert_int_equal(v->n_items, 3);
    assert_true(str_eq(gguf_array_str(v, 0), STR("first")));
    assert_int_equal(gguf_array_str(v, 1).n, 0);
    assert_true(str_eq(gguf_array_str(v, 2), STR("third")));
    v = gguf_find(f.g, "a.i16");
    assert_int_equal(gguf_array_int(v, 0), -1);
    assert_int_equal(gguf_array_int(v, 1), 7);
    v = gguf_find(f.g, "a.u8");
    assert_int_equal(gguf_array_int(v, 0), 255);
    v = gguf_find(f.g, "a.f32");
    assert_true(gguf_array_float(v, 0) == -1.5 && gguf_array_float(v, 1) == 2);
    assert_true(gguf_array_float(gguf_find(f.g, "a.f64"), 0) == 0.25);
    assert_int_equal(gguf_find(f.g, "a.empty")->n_items, 0);
    finish(&f);
}

static void tensors_have_their_shape_size_and_place(void **state)
{
    (void)state;
    struct file f = parse(good_file, NULL);
    assert_int_equal(gguf_n_tensors(f.g), 3);
    const struct gguf_tensor *t = gguf_find_tensor(f.g, "w");
    assert_ptr_equal(t, gguf_tensor_at(f.g, 0));
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 32);
    assert_int_equal(t->dims[1], 2);
    assert_int_equal(t->dims[2], 1);
    assert_int_equal(t->dims[3], 1);
    assert_int_equal(t->n_items, 64);
    assert_int_equal(t->n_bytes, 2 * 34);
    assert_int_equal(t->type, 8);
    const struct gguf_tensor *norm = gguf_find_tensor(f.g, "norm");
    assert_int_equal(norm->n_bytes, 20);
    assert_int_equal(t->data - norm->data, 64);
    const struct gguf_tensor *four = gguf_find_tensor(f.g, "four");
    assert_int_equal(four->n_items, 120);
    assert_int_equal(four->data + four->n_bytes - f.data, f.n);
    assert_int_equal(norm->file_offset, f.n - 400);
    assert_int_equal(norm->file_offset % 32, 0);
    assert_null(gguf_find_tensor(f.g, "wa"));
    gguf_release_tensor(f.g, t); /* no map: nothing may happen to the bytes */
    finish(&f);
}

static void typed_reads_check_type_and_range(void **state)
{
    (void)state;
    struct file f = parse(good_file, NULL);
    struct error e = {0};
    uint32_t u = 17;
    assert_true(gguf_get_u32(f.g, "k.u16", true, &u, &e) && u == 60000);
    assert_true(gguf_get_u32(f.g, "k.absent", false, &u, &e) && u == 60000);
    assert_false(gguf_get_u32(f.g, "k.absent", true, &u, &e));
    assert_string_equal(e.text, "key 'k.absent' is missing");
    assert_int_equal(e.code, ERROR_FORMAT);
    assert_false(gguf_get_u32(f.g, "k.u64", false, &u, &e));
    assert_non_null(strstr(e.text, "18446744073709551615"));
    assert_false(gguf_get_u32(f.g, "k.i64", true, &u, &e));
    assert_non_null(strstr(e.text, "is -2"));
    assert_false(gguf_get_u32(f.g, "k.f32", true, &u, &e));
    assert_string_equal(e.text, "key 'k.f32' is of type f32, expected an integer");
    assert_false(gguf_get_u32(f.g, "k.bool", true, &u, &e));
    assert_false(gguf_get_u32(f.g, "a.u8", true, &u, &e));
    assert_int_equal(u, 60000);

    float x = 3;
    assert_true(gguf_get_f32(f.g, "k.f32", true, &x, &e) && x == 0.1f);
    assert_false(gguf_get_f32(f.g, "k.f64", true, &x, &e));
    assert_non_null(strstr(e.text, "1e+300"));
    assert_false(gguf_get_f32(f.g, "k.u8", true, &x, &e));
    assert_true(gguf_get_f32(f.g, "k.absent", false, &x, &e) && x == 0.1f);

    bool b = false;
    assert_true(gguf_get_bool(f.g, "k.bool", true, &b, &e) && b);
    assert_false(gguf_get_bool(f.g, "k.u8", true, &b, &e));
    assert_string_equal(e.text, "key 'k.u8' is of type u8, expected bool");

    struct str s = STR("as it was");
    assert_true(gguf_get_str(f.g, "k.absent", false, &s, &e) && str_eq(s, STR("as it was")));
    assert_true(gguf_get_str(f.g, "k.string", true, &s, &e) && str_eq(s, STR("Meta")));
    assert_false(gguf_get_str(f.g, "a.string", true, &s, &e));
    assert_false(gguf_get_str(f.g, "k.absent", true, &s, &e));
    finish(&f);
}

static void small_variants_are_accepted(void **state)
{
    (void)state;
    static const char *texts[] = {
        HEAD(0, 0),
        "raw:GGUF 4:2 8:0 8:0",
        HEAD(0, 1) TEXT("general.architecture", "llama"),
        HEAD(0, 1) " long:1024 4:4 4:1",
        HEAD(1, 1) U32("general.alignment", 8) TENSOR("t", 1, 0, 8) " pad:8 zero:12",
        HEAD(1, 1) U32("general.alignment", 1048576) TENSOR("t", 1, 0, 0) " pad:1048576 zero:4",
        HEAD(0, 1) " s:general.alignment 4:10 8:64",
        HEAD(1, 0) TENSOR("t", 1, 0, 0) DATA(100), /* bytes behind the last tensor */
        HEAD(0, 1) " s:split.count 4:2 2:0",       /* as gguf-split --merge leaves it */
        HEAD(0, 3) SPLIT(0, 1, 0),
        HEAD(0, 1) " s:name 4:8 8:3 1:0 1:27 1:255", /* values may hold any bytes */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error e = {0};
        struct file f = parse(texts[i], &e);
        if (f.g == NULL) {
            fail_msg("variant %zu: %s", i, e.text);
        }
        finish(&f);
    }
}

static void any_cut_or_flipped_byte_is_survived(void **state)
{
    (void)state;
    struct file good = parse(good_file, NULL);
    for (size_t n = 0; n < good.n; n++) {
        uint8_t *cut = exact_copy(good.data, n);
        struct error e = {0};
        assert_null(gguf_parse(cut, n, &e)); /* the last tensor ends the file */
        assert_int_equal(e.code, ERROR_FORMAT);
        free(cut);
    }
    uint8_t *bytes = exact_copy(good.data, good.n);
    for (size_t i = 0; i < good.n; i++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xFF};
        for (size_t k = 0; k < sizeof flips; k++) {
            struct error e = {0};
            bytes[i] ^= flips[k];
            struct gguf *g = gguf_parse(bytes, good.n, &e);
            assert_true((g == NULL) == (e.code != ERROR_NONE));
            gguf_destroy(g);
            bytes[i] ^= flips[k];
        }
    }
    free(bytes);
    finish(&good);
}

static void the_largest_number_of_keys_and_tensors_opens(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64 << 20);
    gguf_text_append(&b, HEAD(65536, 65536));
    for (unsigned i = 0; i < GGUF_MAX_KEYS; i++) {
        char item[64];
        snprintf(item, sizeof item, "s:key.%u 4:4 4:%u", i * 40503 % GGUF_MAX_KEYS, i);
        gguf_text_append(&b, item);
    }
    for (unsigned i = 0; i < GGUF_MAX_TENSORS; i++) {
        char item[64];
        snprintf(item, sizeof item, "s:t.%u 4:1 8:1 4:0 8:%u", i, (GGUF_MAX_TENSORS - 1 - i) * 32);
        gguf_text_append(&b, item);
    }
    gguf_text_append(&b, "pad:32");
    gguf_text_fill(&b, 0, GGUF_MAX_TENSORS * 32);
    struct error e = {0};
    struct gguf *g = gguf_parse((const uint8_t *)b.data, b.n, &e);
    assert_string_equal(e.text, "");
    for (unsigned i = 0; i < GGUF_MAX_KEYS; i += 111) {
        char name[32];
        snprintf(name, sizeof name, "key.%u", i * 40503 % GGUF_MAX_KEYS);
        assert_int_equal(gguf_find(g, name)->u, i);
        snprintf(name, sizeof name, "t.%u", i);
        assert_ptr_equal(gguf_find_tensor(g, name), gguf_tensor_at(g, i));
    }
    gguf_destroy(g);
    buf_finish(&b);
}

/* --- files on disk */

struct folder {
    char path[64];
    char names[8][64];
    size_t n_names;
};

static int make_folder(void **state)
{
    static struct folder folder;
    folder = (struct folder){.path = "/tmp/puna-gguf-XXXXXX"};
    *state = &folder;
    return mkdtemp(folder.path) == NULL;
}

static int remove_folder(void **state)
{
    struct folder *folder = *state;
    for (size_t i = 0; i < folder->n_names; i++) {
        remove(folder->names[i]);
    }
    return rmdir(folder->path);
}

/* Path of a new name in the folder, removed at the end of the test. */
static const char *new_path(struct folder *folder, const char *name)
{
    assert_true(folder->n_names < sizeof folder->names / sizeof folder->names[0]);
    char path[sizeof folder->names[0]];
    snprintf(path, sizeof path, "%.32s/%.30s", folder->path, name);
    return memcpy(folder->names[folder->n_names++], path, sizeof path);
}

static const char *write_file(struct folder *folder, const char *name, const char *text)
{
    const char *path = new_path(folder, name);
    struct buf b;
    buf_init(&b, 1 << 20);
    gguf_text_append(&b, text);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(b.n == 0 || fwrite(b.data, b.n, 1, f) == 1);
    assert_int_equal(fclose(f), 0);
    buf_finish(&b);
    return path;
}

/* A model in three shards: the first without tensors, as --no-tensor-first-split makes it. */
static const char shard_1[] = HEAD(0, 4) TEXT("general.architecture", "llama") SPLIT(0, 3, 3);
static const char shard_2[] = HEAD(2, 3) SPLIT(1, 3, 3) TENSOR("b", 8, 0, 0) TENSOR("a", 8, 0, 32)
    DATA(28) " f4:1 f4:2 zero:28";
static const char shard_3[] = HEAD(1, 4) SPLIT(2, 3, 3) U32("general.alignment", 64)
    TENSOR("c", 8, 0, 64) " pad:64 zero:64 f4:3 zero:28";

static void split_models_are_joined(void **state)
{
    struct folder *folder = *state;
    const char *path = write_file(folder, "m-00001-of-00003.gguf", shard_1);
    write_file(folder, "m-00002-of-00003.gguf", shard_2);
    write_file(folder, "m-00003-of-00003.gguf", shard_3);
    struct error e = {0};
    struct gguf *g = gguf_open(path, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(gguf_n_splits(g), 3);
    assert_int_equal(gguf_n_tensors(g), 3);
    assert_int_equal(gguf_n_values(g), 4);
    const struct gguf_tensor *a = gguf_find_tensor(g, "a");
    const struct gguf_tensor *c = gguf_find_tensor(g, "c");
    assert_int_equal(a->split, 1);
    assert_int_equal(c->split, 2);
    float x;
    memcpy(&x, a->data, sizeof x);
    assert_true(x == 2);
    memcpy(&x, c->data, sizeof x);
    assert_true(x == 3);
    assert_int_equal((uintptr_t)c->data % 64, 0);
    gguf_release_tensor(g, a);
    memcpy(&x, a->data, sizeof x);
    assert_true(x == 2); /* read again from the file */
    struct stat s;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < folder->n_names; i++) {
        assert_int_equal(stat(folder->names[i], &s), 0);
        n_bytes += (uint64_t)s.st_size;
    }
    assert_int_equal(gguf_file_bytes(g), n_bytes);
    gguf_destroy(g);
}

static void check_open_fails(const char *path, enum error_code code, const char *message)
{
    struct error e = {0};
    struct gguf *g = gguf_open(path, &e);
    if (g != NULL || e.code != code || strstr(e.text, message) == NULL) {
        fail_msg("%s: code %d, text \"%s\"; expected code %d, \"%s\"", path, e.code, e.text, code,
                 message);
    }
}

static void a_later_shard_says_to_open_the_first(void **state)
{
    struct folder *folder = *state;
    const char *path = write_file(folder, "m-00002-of-00003.gguf", shard_2);
    check_open_fails(path, ERROR_USAGE, "shard 2 of 3; open shard 1");
}

static void a_missing_shard_is_named(void **state)
{
    struct folder *folder = *state;
    const char *path = write_file(folder, "m-00001-of-00003.gguf", shard_1);
    write_file(folder, "m-00002-of-00003.gguf", shard_2);
    check_open_fails(path, ERROR_NOT_FOUND, "m-00003-of-00003.gguf: cannot be opened: No such");
}

static void shards_must_be_named_by_the_pattern(void **state)
{
    struct folder *folder = *state;
    check_open_fails(write_file(folder, "m.gguf", shard_1), ERROR_FORMAT,
                     "must end in -00001-of-00003.gguf");
    check_open_fails(write_file(folder, "m-with-a-long-name-of-its-own", shard_1), ERROR_FORMAT,
                     "must end in -00001-of-00003.gguf");
    check_open_fails(write_file(folder, "m-00001-of-00004.gguf", shard_1), ERROR_FORMAT,
                     "must end in -00001-of-00003.gguf");
}

static void shards_must_agree(void **state)
{
    struct folder *folder = *state;
    const char *path = write_file(folder, "m-00001-of-00002.gguf",
                                  HEAD(1, 3) SPLIT(0, 2, 2) TENSOR("a", 8, 0, 0) DATA(32));
    static const struct bad_file seconds[] = {
        {"first twice", HEAD(0, 3) SPLIT(0, 2, 2), ERROR_FORMAT, "'split.no' is 0, expected 1"},
        {"other count", HEAD(0, 3) SPLIT(1, 3, 2), ERROR_FORMAT,
         "00002-of-00002.gguf: key 'split.count' is 3, 2 in the first"},
        {"no split keys", HEAD(0, 0), ERROR_FORMAT, "'split.no' is 0, expected 1"},
        {"tensor missing", HEAD(0, 3) SPLIT(1, 2, 2), ERROR_FORMAT, "1 tensors in 2 files"},
        {"tensor twice", HEAD(1, 3) SPLIT(1, 2, 2) TENSOR("a", 8, 0, 0) DATA(32), ERROR_FORMAT,
         "'a' is there twice, as number 1 (shard 1) and 2 (shard 2)"},
        {"surplus tensor",
         HEAD(2, 3) SPLIT(1, 2, 2) TENSOR("b", 8, 0, 0) TENSOR("c", 8, 0, 32) DATA(64),
         ERROR_FORMAT, "3 tensors in 2 files, key 'split.tensors.count' says 2"},
        {"not GGUF", "raw:PK 1:3 1:4", ERROR_FORMAT, "00002-of-00002.gguf: this is a zip"},
        {"too many tensors", HEAD(65536, 3) SPLIT(1, 2, 2), ERROR_FORMAT,
         "65536 tensors, at most 65535"},
    };
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        folder->n_names = 1;
        write_file(folder, "m-00002-of-00002.gguf", seconds[i].text);
        check_open_fails(path, seconds[i].code, seconds[i].message);
    }
}

static void what_is_no_file_is_refused(void **state)
{
    struct folder *folder = *state;
    check_open_fails(folder->path, ERROR_FORMAT, "a directory");
    const char *path = new_path(folder, "absent.gguf");
    check_open_fails(path, ERROR_NOT_FOUND, "absent.gguf: cannot be opened: No such file");
    check_open_fails("", ERROR_NOT_FOUND, "cannot be opened");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_open_fails(path, ERROR_FORMAT, "not a regular file"); /* and does not wait for a writer */
    check_open_fails(write_file(folder, "empty.gguf", ""), ERROR_FORMAT, "the file is empty");
    char long_path[2048];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    check_open_fails(long_path, ERROR_IO, "xxx: cannot be opened: File name too long");
}

/* --- memory */

static void parsing_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct file f = parse(good_file, NULL);
    size_t n = 0;
    struct gguf *g = NULL;
    while (g == NULL) {
        struct error e = {0};
        mem_fail_nth(++n);
        g = gguf_parse(f.data, f.n, &e);
        if (g == NULL) {
            assert_int_equal(e.code, ERROR_MEMORY);
            assert_non_null(strstr(e.text, "out of memory"));
        }
    }
    mem_fail_nth(0);
    assert_true(n > 8); /* file, shards, values, 2 string arrays, 2 indexes, tensors, order */
    gguf_destroy(g);
    finish(&f);
}

static void opening_shards_survives_each_failing_allocation(void **state)
{
    struct folder *folder = *state;
    const char *path = write_file(folder, "m-00001-of-00003.gguf", shard_1);
    write_file(folder, "m-00002-of-00003.gguf", shard_2);
    write_file(folder, "m-00003-of-00003.gguf", shard_3);
    size_t n = 0;
    struct gguf *g = NULL;
    while (g == NULL) {
        struct error e = {0};
        mem_fail_nth(++n);
        g = gguf_open(path, &e);
        if (g == NULL) {
            assert_int_equal(e.code, ERROR_MEMORY);
        }
    }
    mem_fail_nth(0);
    assert_true(n > 12);
    gguf_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_other_formats_are_named),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(bad_arrays_are_refused),
        cmocka_unit_test(bad_tensors_are_refused),
        cmocka_unit_test(bad_split_keys_are_refused),
        cmocka_unit_test(the_digest_of_the_head_is_of_all_but_the_data),
        cmocka_unit_test(every_value_type_is_widened),
        cmocka_unit_test(arrays_are_read_item_by_item),
        cmocka_unit_test(tensors_have_their_shape_size_and_place),
        cmocka_unit_test(typed_reads_check_type_and_range),
        cmocka_unit_test(small_variants_are_accepted),
        cmocka_unit_test(any_cut_or_flipped_byte_is_survived),
        cmocka_unit_test(the_largest_number_of_keys_and_tensors_opens),
        cmocka_unit_test_setup_teardown(split_models_are_joined, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_later_shard_says_to_open_the_first, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_missing_shard_is_named, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(shards_must_be_named_by_the_pattern, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(shards_must_agree, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, make_folder, remove_folder),
        cmocka_unit_test(parsing_survives_each_failing_allocation),
        cmocka_unit_test_setup_teardown(opening_shards_survives_each_failing_allocation,
                                        make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
