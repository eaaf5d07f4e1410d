/* test_packed_cache.c - the folder of packed weights: the next load reads what the last one packed,
 * and whatever happens to model, file and folder, the weights are those of the model. */
#include "base/mem.h"
#include "model/model.h"
#include "model/packing.h"
#include "model_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LAYOUT_AT = 24, DATA_AT = 4096, TEXT_BYTES = 8192 };

static struct pool *pool;
static char home[] = "/tmp/puna-cache-XXXXXX";
static char folder[64], model_path[64], other_path[64]; /* folder: two levels that are made */

/* What a load told. */
static struct {
    char notes[TEXT_BYTES];
    bool was_checked;
} told;

static void note(void *argument, const char *text)
{
    (void)argument;
    size_t n = strlen(told.notes);
    snprintf(told.notes + n, sizeof told.notes - n, "%s\n", text);
}

static void progress(void *argument, const char *what, uint64_t done, uint64_t total)
{
    (void)argument;
    assert_true(done <= total);
    told.was_checked = told.was_checked || strcmp(what, "checking") == 0;
}

static struct packed_cache_options options(void)
{
    return (struct packed_cache_options){
        .folder = folder, .model_path = model_path, .limit_bytes = 1 << 30};
}

/* --- files */

static void write_model(const char *path, const struct model_spec *spec)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    model_file_write(&b, spec);
    FILE *f = fopen(path, "wb");
    assert_true(f != NULL && fwrite(b.data, b.n, 1, f) == 1 && fclose(f) == 0);
    buf_finish(&b);
}

static const struct model_spec model_a = {0};
static const struct model_spec model_b = {
    .poked = "blk.0.ffn_down.weight", .poked_at = 1000, .poked_value = 0.25f};

/* Every name in the folder but those with a dot in front; sorted by nothing. Returns how many; the
 * last one in path. */
static size_t list_folder(char path[128])
{
    DIR *d = opendir(folder);
    size_t n = 0;
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.') {
            n++;
            snprintf(path, 128, "%s/%.60s", folder, entry->d_name);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

static void only_file(char path[128])
{
    assert_int_equal(list_folder(path), 1);
}

static int empty_folder(void **state)
{
    (void)state;
    char path[128];
    while (list_folder(path) > 0) {
        if (remove(path) != 0) {
            return 1;
        }
    }
    rmdir(folder);
    write_model(model_path, &model_a);
    return 0;
}

static int set_up(void **state)
{
    pool = pool_create(2, NULL);
    if (pool == NULL || mkdtemp(home) == NULL) {
        return 1;
    }
    snprintf(folder, sizeof folder, "%s/cache/packed", home);
    snprintf(model_path, sizeof model_path, "%s/model.gguf", home);
    snprintf(other_path, sizeof other_path, "%s/other.gguf", home);
    return empty_folder(state);
}

static int tear_down(void **state)
{
    char cache[64];
    empty_folder(state);
    snprintf(cache, sizeof cache, "%s/cache", home);
    rmdir(cache);
    unlink(model_path);
    unlink(other_path);
    pool_destroy(pool);
    return rmdir(home);
}

/* --- loading */

struct loaded {
    struct packed_cache_options options;
    struct gguf *file;
    struct model model;
};

static bool load(struct loaded *l, const struct packed_cache_options *o, struct error *e)
{
    memset(&told, 0, sizeof told);
    if (o != NULL) {
        l->options = *o;
    }
    l->file = gguf_open(o != NULL ? o->model_path : model_path, e);
    const struct model_load_options load_options = {.watch = {.note = note, .progress = progress},
                                                    .cache = o != NULL ? &l->options : NULL};
    if (l->file == NULL ||
        !model_load(&l->model, l->file, kern_get(KERN_REF, NULL), &load_options, pool, e)) {
        gguf_destroy(l->file);
        return false;
    }
    return true;
}

static void unload(struct loaded *l)
{
    model_finish(&l->model);
    gguf_destroy(l->file);
}

static void assert_packed_as_without_cache(const struct loaded *l, const char *path)
{
    struct loaded fresh;
    struct error e = {0};
    char notes[TEXT_BYTES];
    memcpy(notes, told.notes, sizeof notes);
    bool was_checked = told.was_checked;
    fresh.file = gguf_open(path, NULL);
    assert_true(model_load(&fresh.model, fresh.file, kern_get(KERN_REF, NULL),
                           &(struct model_load_options){0}, pool, &e));
    assert_int_equal(fresh.model.weights.packed_bytes, l->model.weights.packed_bytes);
    assert_memory_equal(fresh.model.weights.packed, l->model.weights.packed,
                        l->model.weights.packed_bytes);
    assert_int_equal(l->model.weights.layers->down.packed.data - l->model.weights.packed,
                     fresh.model.weights.layers->down.packed.data - fresh.model.weights.packed);
    unload(&fresh);
    memcpy(told.notes, notes, sizeof notes);
    told.was_checked = was_checked;
}

/* Loads, compares with what is packed without a cache, stores. note NULL: nothing may be told. */
static void start(const struct packed_cache_options *o, bool from_cache, const char *expected_note)
{
    struct loaded l;
    struct error e = {0};
    if (!load(&l, o, &e)) {
        fail_msg("%s", e.text);
    }
    assert_packed_as_without_cache(&l, o->model_path);
    packing_store(&l.model.weights, pool);
    if (l.model.weights.from_cache != from_cache) {
        fail_msg("from the cache: %d, expected %d; '%s'", l.model.weights.from_cache, from_cache,
                 told.notes);
    }
    if (expected_note == NULL ? told.notes[0] != '\0' : strstr(told.notes, expected_note) == NULL) {
        fail_msg("told '%s', expected '%s'", told.notes, expected_note);
    }
    unload(&l);
}

static void start_as_usual(bool from_cache, const char *expected_note)
{
    struct packed_cache_options o = options();
    start(&o, from_cache, expected_note);
}

static void settle(const char *path)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    struct timespec until = {.tv_sec = s.st_ctim.tv_sec + 3};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) != 0) {
    }
}

/* --- the model */

static void the_second_load_reads_what_the_first_one_packed(void **state)
{
    (void)state;
    char path[128];
    struct stat s;
    start_as_usual(false, NULL);
    only_file(path);
    assert_true(stat(path, &s) == 0 && (s.st_mode & 0777) == 0600);
    assert_true(stat(folder, &s) == 0 && (s.st_mode & 0777) == 0700);
    start_as_usual(true, NULL);
    only_file(path);
}

/* Packed here, or read from the cache. The kernel does not write there either, and needs no process
 * to die for saying so. */
static void packed_weights_are_read_only(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) {
        struct packed_cache_options o = options();
        struct loaded l;
        assert_true(load(&l, &o, NULL));
        const struct model_weights *w = &l.model.weights;
        const size_t places[] = {0, w->packed_bytes / 2, w->packed_bytes - 1};
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
            assert_int_equal(read(ends[0], w->packed + places[k], 1), -1);
            assert_int_equal(errno, EFAULT);
        }
        assert_int_equal(w->from_cache, i == 1);
        packing_store(&l.model.weights, pool);
        unload(&l);
    }
    close(ends[0]);
    close(ends[1]);
}

static void a_model_is_read_again_only_when_its_file_may_have_changed(void **state)
{
    (void)state;
    start_as_usual(false, NULL);
    start_as_usual(true, NULL);
    assert_true(told.was_checked); /* written a moment ago */
    settle(model_path);
    start_as_usual(true, NULL);
    assert_true(told.was_checked);
    start_as_usual(true, NULL);
    assert_false(told.was_checked);
    write_model(model_path, &model_a); /* the same bytes, written again */
    settle(model_path);
    start_as_usual(true, NULL);
    assert_true(told.was_checked);
    start_as_usual(true, NULL);
    assert_false(told.was_checked);
    struct timespec times[2];
    struct stat s;
    assert_int_equal(stat(model_path, &s), 0);
    times[0] = s.st_atim;
    times[1] = s.st_mtim;
    write_model(model_path,
                &model_b); /* of the same size, and its old time of writing is put back */
    assert_int_equal(utimensat(AT_FDCWD, model_path, times, 0), 0);
    settle(model_path);
    start_as_usual(false, ": the model has changed; the model is packed again");
    start_as_usual(true, NULL);
}

static void a_changed_model_is_packed_again(void **state)
{
    (void)state;
    char path[128];
    start_as_usual(false, NULL);
    write_model(model_path, &model_b);
    start_as_usual(false, ": the model has changed; the model is packed again");
    only_file(path);
    start_as_usual(true, NULL);
    write_model(other_path, &model_a);
    assert_int_equal(rename(other_path, model_path), 0);
    start_as_usual(false, "the model has changed");
}

static void a_model_of_other_sizes_is_packed_again(void **state)
{
    (void)state;
    start_as_usual(false, NULL);
    struct model_spec halves = {.tensor = {"blk.0.attn_q.weight", 32, 32, QUANT_F16}};
    write_model(model_path, &halves);
    start_as_usual(false, "the model has changed: ");
    start_as_usual(true, NULL);
    /* as many bytes, but of another type */
    struct model_spec brains = {.tensor = {"blk.0.attn_q.weight", 32, 32, QUANT_BF16}};
    write_model(model_path, &brains);
    start_as_usual(false, "it is of another model or of a puna that packs otherwise; ");
}

static void every_path_has_its_own_file(void **state)
{
    (void)state;
    char path[128];
    struct packed_cache_options other = options();
    other.model_path = other_path;
    write_model(other_path, &model_b);
    start_as_usual(false, NULL);
    start(&other, false, NULL);
    assert_int_equal(list_folder(path), 2);
    start_as_usual(true, NULL);
    start(&other, true, NULL);
    unlink(other_path);
    assert_int_equal(symlink(model_path, other_path), 0);
    start(&other, true, NULL); /* the same file by another name */
    unlink(other_path);
}

/* --- the file */

static void poke(const char *path, off_t at, uint8_t change)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= change;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_file_is_replaced(void **state)
{
    (void)state;
    static const struct {
        off_t at;
        const char *note;
    } pokes[] = {
        {0, ": not a file of packed weights; the model is packed again"},
        {8, ": version 0, expected 1; the model is packed again"},
        {16, " bytes, expected "},
        {LAYOUT_AT, ": it is of another model or of a puna that packs otherwise"},
        {LAYOUT_AT + 16, ": the head is damaged"},
        {DATA_AT, ": chunk 1 of 1 is damaged; the model is packed again"},
        {DATA_AT + 20000, ": chunk 1 of 1 is damaged"},
    };
    char path[128];
    start_as_usual(false, NULL);
    for (size_t i = 0; i < sizeof pokes / sizeof pokes[0]; i++) {
        only_file(path);
        poke(path, pokes[i].at, 1);
        start_as_usual(false, pokes[i].note);
        start_as_usual(true, NULL);
    }
    assert_int_equal(truncate(path, DATA_AT + 100), 0);
    start_as_usual(false, ": 4196 bytes, expected ");
    start_as_usual(true, NULL);
    assert_int_equal(truncate(path, 0), 0);
    start_as_usual(false, ": 0 bytes, a head has 88");
    start_as_usual(true, NULL);

    struct packed_cache_options o = options();
    struct loaded l;
    poke(path, DATA_AT, 1);
    assert_true(load(&l, &o, NULL));
    assert_int_equal(list_folder(path), 0); /* told once, also when nothing is stored */
    unload(&l);
}

/* With what stands for a packer that packs otherwise, and with what earlier versions wrote, which
 * knew nothing of the order of matrices. */
static void replace_layout(const struct digest *layout)
{
    char path[128];
    start_as_usual(false, NULL);
    only_file(path);
    int fd = open(path, O_RDWR);
    struct packed_file f;
    assert_true(packed_file_open(&f, fd, NULL, NULL));
    struct packed_head head = f.head;
    packed_file_finish(&f);
    head.layout = *layout;
    uint8_t *weights = mem_alloc(head.n_bytes, 1, "weights", NULL);
    assert_true(weights != NULL && ftruncate(fd, 0) == 0);
    assert_true(packed_file_write(fd, &head, weights, pool, &(struct model_watch){0}, NULL));
    mem_free(weights);
    close(fd);
    start_as_usual(
        false,
        ": it is of another model or of a puna that packs otherwise; the model is packed again");
    start_as_usual(true, NULL);
    assert_int_equal(unlink(path), 0);
}

static void a_file_of_another_layout_is_replaced(void **state)
{
    (void)state;
    struct digest without_order;
    assert_true(pack_layout_digest(&without_order, NULL));
    replace_layout(&without_order);
    replace_layout(&(struct digest){{1}});
}

static struct packing packing_of(struct loaded *l)
{
    return (struct packing){.weights = &l->model.weights,
                            .gguf = l->file,
                            .n_layers = l->model.config.n_layers,
                            .pool = pool};
}

static void expect_another_order(const struct packing *p, const struct digest *order, bool another)
{
    struct digest d;
    packing_order_digest(p, &d);
    assert_int_equal(!digest_eq(d, *order), another);
}

static void matrices_in_another_order_or_place_are_another_layout(void **state)
{
    (void)state;
    struct loaded l;
    struct digest order;
    assert_true(load(&l, NULL, NULL));
    const struct packing p = packing_of(&l);
    struct model_layer *first = &l.model.weights.layers[0];
    packing_order_digest(&p, &order);
    const struct model_layer before = *first;
    first->k.tensor = before.v.tensor; /* of one shape and type */
    first->v.tensor = before.k.tensor;
    expect_another_order(&p, &order, true);
    *first = before;
    first->k.packed.data = before.v.packed.data;
    first->v.packed.data = before.k.packed.data;
    expect_another_order(&p, &order, true);
    *first = before;
    first->up.packed.rows++;
    expect_another_order(&p, &order, true);
    *first = before;
    expect_another_order(&p, &order, false);
    unload(&l);
}

static void what_lies_there_instead_of_a_file_is_replaced_or_left(void **state)
{
    (void)state;
    char path[128], target[128];
    start_as_usual(false, NULL);
    only_file(path);
    snprintf(target, sizeof target, "%s/target", home);
    assert_true(rename(path, target) == 0 && symlink(target, path) == 0);
    start_as_usual(false, ": cannot be opened: ");
    start_as_usual(true, NULL);
    assert_int_equal(unlink(target), 0);
    assert_true(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    start_as_usual(false, ": not a regular file");
    start_as_usual(true, NULL);
    assert_true(unlink(path) == 0 && mkdir(path, 0700) == 0);
    start_as_usual(false, "packed weights are not kept");
    start_as_usual(false, "packed weights are not kept");
}

/* --- the folder */

static void small_models_are_not_kept(void **state)
{
    (void)state;
    char path[128];
    struct packed_cache_options o = options();
    struct loaded l;
    assert_true(load(&l, NULL, NULL));
    o.min_bytes = l.model.weights.packed_bytes + 1;
    unload(&l);
    start(&o, false, NULL);
    assert_int_equal(list_folder(path), 0);
    o.min_bytes--;
    start(&o, false, NULL);
    o.min_bytes++;
    start(&o, false, NULL);
    only_file(path);
}

static void set_last_use(const char *path, time_t when)
{
    struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void files_that_were_not_used_for_longest_go_first(void **state)
{
    (void)state;
    char first[128], second[128], third[128];
    struct packed_cache_options o = options();
    struct stat s;
    start(&o, false, NULL);
    only_file(first);
    assert_int_equal(stat(first, &s), 0);
    snprintf(second, sizeof second, "%s/%032d.packed", folder, 2);
    snprintf(third, sizeof third, "%s/%032d.packed", folder, 3);
    assert_true(link(first, second) == 0 && unlink(first) == 0);
    start(&o, false, NULL);
    assert_true(link(first, third) == 0 && unlink(first) == 0);
    set_last_use(second, 1000);
    set_last_use(third, 2000);
    o.limit_bytes = 3 * (uint64_t)s.st_size;
    start(&o, false, NULL); /* all three fit */
    assert_true(access(first, F_OK) == 0 && access(second, F_OK) == 0 && access(third, F_OK) == 0);
    set_last_use(first, 500);
    o.limit_bytes--;
    start(&o, true, NULL); /* read just now: the second is the oldest */
    assert_true(access(first, F_OK) == 0 && access(second, F_OK) != 0 && access(third, F_OK) == 0);
    unlink(first);
    o.limit_bytes = 2 * (uint64_t)s.st_size - 1;
    start(&o, false, NULL); /* makes room before it writes */
    assert_true(access(first, F_OK) == 0 && access(third, F_OK) != 0);
    o.limit_bytes = (uint64_t)s.st_size - 1;
    start(&o, true, NULL); /* read, and then over a limit that was lowered */
    assert_true(access(first, F_OK) != 0);
    start(&o, false, "more than the limit of the folder");
    assert_int_equal(list_folder(first), 0);
}

static void what_killed_processes_left_is_removed_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_old, stays;
    } files[] = {
        {"00000000000000000000000000000001.packed.aB3xYz", true, false},
        {"00000000000000000000000000000001.packed.aB3xYw", false, true}, /* being written */
        {"00000000000000000000000000000001.packed.aB3xY", true, true},
        {"00000000000000000000000000000001.packex.aB3xYz", true, true},
        {"0000000000000000000000000000000G.packed.aB3xYz", true, true},
        {"notes.txt", true, true},
    };
    enum { N_FILES = sizeof files / sizeof files[0] };
    char path[128];
    start_as_usual(false, NULL);
    for (size_t i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0 && close(fd) == 0);
        set_last_use(path, files[i].is_old ? time(NULL) - 4000 : time(NULL));
    }
    start_as_usual(true, NULL);
    for (size_t i = 0; i < N_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        assert_int_equal(access(path, F_OK) == 0, files[i].stays);
    }
}

static void a_folder_that_cannot_be_is_told(void **state)
{
    (void)state;
    struct packed_cache_options o = options();
    o.folder = "/proc/puna/packed";
    start(&o, false, "/proc/puna/packed: ");
    start(&o, false, "packed weights are not kept");
    o.folder = model_path; /* a file */
    start(&o, false, "packed weights are not kept");
    o.folder = NULL;
    start(&o, false, "packed weights: neither XDG_CACHE_HOME nor HOME names a place");
    char path[128];
    assert_int_equal(list_folder(path), 0);
}

static void two_that_store_at_once_leave_a_whole_file(void **state)
{
    (void)state;
    struct packed_cache_options o = options();
    struct loaded a, b;
    char path[128];
    assert_true(load(&a, &o, NULL));
    assert_true(load(&b, &o, NULL));
    packing_store(&a.model.weights, pool);
    packing_store(&b.model.weights, pool);
    assert_string_equal(told.notes, "");
    unload(&a);
    unload(&b);
    only_file(path);
    start_as_usual(true, NULL);
}

/* A file is either read as it was opened, or is that of the model that is there now. */
static void a_file_that_is_replaced_while_it_is_read_keeps_its_own_identity(void **state)
{
    (void)state;
    struct packed_cache c;
    struct packed_cache_options o = options();
    struct gguf *g;
    char path[128];
    start_as_usual(false, NULL);
    settle(model_path);
    g = gguf_open(model_path, NULL);
    struct loaded l;
    assert_true(load(&l, NULL, NULL));
    struct digest order;
    const struct packing p = packing_of(&l);
    packing_order_digest(&p, &order);
    packed_cache_open(&c, &o, &(struct model_watch){0}, g, l.model.weights.packed_bytes, &order);
    assert_int_equal(c.state, PACKED_CACHE_UNSURE);
    only_file(path);
    unlink(path);
    write_model(model_path, &model_b);
    start_as_usual(false, NULL);
    struct digest content = c.file.head.content;
    packed_cache_confirm(&c, &content);
    uint8_t *read_back = mem_alloc(l.model.weights.packed_bytes, 1, "weights", NULL);
    assert_true(packed_cache_read(&c, read_back, pool)); /* of the old file */
    assert_memory_equal(read_back, l.model.weights.packed, l.model.weights.packed_bytes);
    mem_free(read_back);
    packed_cache_close(&c);
    gguf_destroy(g);
    unload(&l);
    only_file(path);
    int fd = open(path, O_RDONLY);
    struct packed_file f;
    assert_true(
        packed_file_open(&f, fd, NULL, NULL)); /* of model_b, which was written a moment ago */
    assert_true(digest_eq(f.head.identity, (struct digest){0}));
    packed_file_finish(&f);
    close(fd);
}

/* --- memory */

static void memory_that_runs_out_costs_the_cache_at_most(void **state)
{
    (void)state;
    struct packed_cache_options o = options();
    char path[128];
    bool was_told = false;
    size_t n_loaded = 0;
    for (int round = 0; round < 2; round++) { /* absent, then there */
        for (size_t n = 1;; n++) {
            if (round == 0) {
                empty_folder(state);
            }
            struct loaded l;
            struct error e = {0};
            mem_fail_nth(n);
            bool ok = load(&l, &o, &e);
            if (ok) {
                packing_store(&l.model.weights, pool);
            }
            bool was_last = mem_count() < n;
            mem_fail_nth(0);
            assert_true(ok || e.code == ERROR_MEMORY);
            if (ok) {
                n_loaded++;
                was_told = was_told || strstr(told.notes, "out of memory") != NULL;
                assert_packed_as_without_cache(&l, model_path);
                unload(&l);
            }
            size_t n_files = list_folder(path);
            assert_true(n_files <= 1 && (n_files == 0 || strlen(strrchr(path, '/')) == 1 + 32 + 7));
            if (was_last) {
                assert_true(ok && told.notes[0] == '\0' && n_files == 1);
                break;
            }
        }
    }
    assert_true(was_told && n_loaded > 4);
}

int main(void)
{
#define CACHE_TEST(test) cmocka_unit_test_setup(test, empty_folder)
    const struct CMUnitTest tests[] = {
        CACHE_TEST(the_second_load_reads_what_the_first_one_packed),
        CACHE_TEST(packed_weights_are_read_only),
        CACHE_TEST(a_model_is_read_again_only_when_its_file_may_have_changed),
        CACHE_TEST(a_changed_model_is_packed_again),
        CACHE_TEST(a_model_of_other_sizes_is_packed_again),
        CACHE_TEST(every_path_has_its_own_file),
        CACHE_TEST(a_damaged_file_is_replaced),
        CACHE_TEST(a_file_of_another_layout_is_replaced),
        CACHE_TEST(matrices_in_another_order_or_place_are_another_layout),
        CACHE_TEST(what_lies_there_instead_of_a_file_is_replaced_or_left),
        CACHE_TEST(small_models_are_not_kept),
        CACHE_TEST(files_that_were_not_used_for_longest_go_first),
        CACHE_TEST(what_killed_processes_left_is_removed_and_nothing_else),
        CACHE_TEST(a_folder_that_cannot_be_is_told),
        CACHE_TEST(two_that_store_at_once_leave_a_whole_file),
        CACHE_TEST(a_file_that_is_replaced_while_it_is_read_keeps_its_own_identity),
        CACHE_TEST(memory_that_runs_out_costs_the_cache_at_most),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
