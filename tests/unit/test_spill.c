/* test_spill.c - prefixes on disk: a later engine takes them from there, and tokens and logits are
 * those of a sequence alone, whatever lies in the folder. The model is tiny.gguf beside this
 * program (random weights, made by gen_gguf). */
#include "base/mem.h"
#include "engine/spill.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    TILE = KERN_ATTN_TILE,
    N_CTX = 512,
    N_PROMPT = 300, /* four whole pages and a part */
    WHOLE = N_PROMPT / TILE * TILE,
    N_ANSWER = 12,
    MAX_ANSWER = 70,
    N_PROMPTS = 4,
    MAX_WAITS = 200000, /* a tenth of a millisecond each */
    TEXT_BYTES = 8192
};

static char model_path[4096];
static struct gguf *file;
static struct pool *pool;
static struct model model;
static char home[] = "/tmp/puna-spill-XXXXXX";
static char folder[64]; /* two levels that are made */

/* --- what the disk's thread tells */

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static char told[TEXT_BYTES];
static uint32_t n_told, n_woken, n_woken_when_told;

static void note(const char *text)
{
    pthread_mutex_lock(&told_lock);
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "%s\n", text);
    n_told++;
    n_woken_when_told = n_woken;
    pthread_mutex_unlock(&told_lock);
}

static void wake(void *argument)
{
    assert_ptr_equal(argument, home);
    pthread_mutex_lock(&told_lock);
    n_woken++;
    pthread_mutex_unlock(&told_lock);
}

static uint32_t count_woken(void)
{
    pthread_mutex_lock(&told_lock);
    uint32_t n = n_woken;
    pthread_mutex_unlock(&told_lock);
    return n;
}

/* Of one line that has both texts; NULL: nothing was told. */
static void expect_told(const char *what, const char *consequence)
{
    pthread_mutex_lock(&told_lock);
    uint32_t n = what != NULL;
    if (n_told != n ||
        (what != NULL && (strstr(told, what) == NULL || strstr(told, consequence) == NULL))) {
        fail_msg("told %u times: '%s', expected '%s'", n_told, told, what != NULL ? what : "");
    }
    told[0] = '\0';
    n_told = n_woken = 0;
    pthread_mutex_unlock(&told_lock);
}

/* --- the folder */

/* Names in it but those with a dot in front; the last one in path. */
static uint32_t list_folder(char path[160])
{
    DIR *d = opendir(folder);
    uint32_t n = 0;
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.') {
            n++;
            snprintf(path, 160, "%s/%.80s", folder, entry->d_name);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
    return n;
}

static uint32_t n_files(void)
{
    char path[160];
    return list_folder(path);
}

static int empty_folder(void **state)
{
    (void)state;
    char path[160];
    while (list_folder(path) > 0) {
        if (remove(path) != 0) {
            return 1;
        }
    }
    rmdir(folder);
    return 0;
}

/* --- engines */

static struct spill_options spill_options(void)
{
    return (struct spill_options){.folder = folder,
                                  .limit_bytes = 1 << 30,
                                  .maker = {{7}},
                                  .note = note,
                                  .wake = wake,
                                  .wake_argument = home};
}

static struct engine_options engine_options(const struct spill_options *spill)
{
    return (struct engine_options){
        .n_ctx = N_CTX, .max_sequences = 4, .prefix_pages = UINT32_MAX, .spill = spill};
}

static void open_engine(struct engine *g, const struct engine_options *o)
{
    struct error e = {0};
    if (!engine_init(g, &model, pool, o, &e)) {
        fail_msg("%s", e.text);
    }
}

static void open_usual(struct engine *g)
{
    struct spill_options spill = spill_options();
    struct engine_options o = engine_options(&spill);
    open_engine(g, &o);
}

/* What a sequence gave; logits by their digests. */
struct answer {
    uint32_t n, tokens[MAX_ANSWER];
    struct digest logits[MAX_ANSWER];
};

struct job {
    uint32_t prompt, n_prompt, n_more; /* than N_ANSWER tokens of an answer */
    bool is_seeded;
    uint64_t salt;
    struct engine_seq *s;
    struct answer answer;
    uint32_t n_cached;
    enum prefix_end end;
};

/* Prompts 0 and 1 are one text for two pages and a bit. */
static void make_prompt(uint32_t number, uint32_t *out)
{
    for (uint32_t i = 0; i < N_CTX; i++) {
        uint32_t text = number < 2 && i < 2 * TILE + 9 ? 0 : number;
        out[i] = (i * 2654435761u + text * 40503u) >> 8 & 0x1FF;
    }
}

static void open_job(struct engine *g, struct job *j)
{
    uint32_t tokens[N_CTX];
    struct error e = {0};
    struct sampler_params p;
    sampler_params_default(&p);
    p.temperature = j->is_seeded ? 0.9f : 0.0f;
    p.seed = 11;
    make_prompt(j->prompt, tokens);
    struct engine_request r = {
        .sampler = &p, .tokens = tokens, .n_tokens = j->n_prompt, .salt = j->salt};
    j->answer.n = 0;
    j->s = engine_open(g, &r, &e);
    if (j->s == NULL) {
        fail_msg("%s", e.text);
    }
}

static bool step(struct engine *g)
{
    bool busy;
    struct error e = {0};
    if (!engine_step(g, &busy, &e) || !engine_check_pages(g, &e)) {
        fail_msg("%s", e.text);
    }
    if (!busy) {
        usleep(100);
    }
    return busy;
}

/* Takes and feeds what is there; closes a job that is complete. */
static void advance(struct engine *g, struct job *j)
{
    struct answer *a = &j->answer;
    while (j->s != NULL && engine_take(j->s, &a->tokens[a->n])) {
        a->logits[a->n] = digest_of(engine_logits(g, j->s), model.config.n_vocab * sizeof(float));
        a->n++;
        if (a->n < N_ANSWER + j->n_more) {
            assert_true(engine_feed(g, j->s, &a->tokens[a->n - 1], 1, NULL));
        } else {
            j->n_cached = j->s->n_cached;
            j->end = j->s->cache_end;
            engine_close(g, j->s);
            j->s = NULL;
        }
    }
}

static void finish_jobs(struct engine *g, struct job *jobs, uint32_t n)
{
    uint32_t n_open = n;
    for (uint32_t i = 0; n_open > 0; i++) {
        assert_true(i < MAX_WAITS);
        step(g);
        n_open = 0;
        for (uint32_t k = 0; k < n; k++) {
            advance(g, &jobs[k]);
            n_open += jobs[k].s != NULL;
        }
    }
}

static void run(struct engine *g, struct job *j)
{
    open_job(g, j);
    finish_jobs(g, j, 1);
}

/* What a sequence alone gives, in an engine that knows nothing of disks. */
static void check_answer(const struct job *j, enum kern_kv type)
{
    struct engine g;
    struct engine_options o = {.n_ctx = N_CTX, .kv_type = type};
    struct job alone = *j;
    open_engine(&g, &o);
    run(&g, &alone);
    engine_finish(&g);
    assert_int_equal(j->answer.n, alone.answer.n);
    assert_memory_equal(j->answer.tokens, alone.answer.tokens, j->answer.n * sizeof(uint32_t));
    assert_memory_equal(j->answer.logits, alone.answer.logits, j->answer.n * sizeof(struct digest));
}

static struct job usual_job(void)
{
    return (struct job){.n_prompt = N_PROMPT};
}

/* An engine that computes the prompt and ends. */
static void fill_folder(void)
{
    struct engine g;
    struct job j = usual_job();
    open_usual(&g);
    run(&g, &j);
    engine_finish(&g);
    expect_told(NULL, NULL);
    assert_int_equal(n_files(), WHOLE / TILE);
}

/* A new engine takes so many tokens of the usual prompt from disk, and answers the same. */
static void expect_restart(uint32_t n_cached)
{
    struct engine g;
    struct job j = usual_job();
    open_usual(&g);
    run(&g, &j);
    assert_int_equal(j.n_cached, n_cached);
    assert_int_equal(g.prefix.n_from_disk, n_cached);
    check_answer(&j, KERN_KV_Q16);
    prefix_finish(&g.prefix); /* as if it were killed: nothing is written at the end */
    engine_finish(&g);
}

/* Path of the file of the first n pages of the usual prompt. */
static void path_of(uint32_t n, char path[160])
{
    uint32_t tokens[N_CTX];
    struct engine g;
    open_usual(&g);
    make_prompt(0, tokens);
    struct spill_prefix p = {.maker = g.spill->maker,
                             .tokens = tokens,
                             .n_tokens = n * TILE,
                             .page_bytes = g.kv.page_bytes};
    engine_finish(&g);
    struct digest name = spill_file_name(&p);
    int at = snprintf(path, 160, "%s/", folder);
    for (int i = 0; i < 16; i++) {
        at += snprintf(path + at, 160 - (size_t)at, "%02x", name.bytes[i]);
    }
    snprintf(path + at, 160 - (size_t)at, ".page");
}

/* --- a restart */

static void a_restart_finds_long_prefixes(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * KERN_KV_COUNT; i++) {
        struct spill_options spill = spill_options();
        struct engine_options o = engine_options(&spill);
        o.kv_type = (enum kern_kv)(i % KERN_KV_COUNT);
        o.batch = i < KERN_KV_COUNT ? 512 : 50;
        o.max_guesses = i < KERN_KV_COUNT ? 0 : 7;
        for (int is_again = 0; is_again < 2; is_again++) {
            struct engine g;
            struct job greedy = usual_job(), seeded = usual_job();
            seeded.is_seeded = true;
            open_engine(&g, &o);
            run(&g, &greedy);
            run(&g, &seeded);
            assert_int_equal(greedy.n_cached, is_again ? WHOLE : 0);
            assert_int_equal(seeded.n_cached, N_PROMPT - 1);
            assert_string_equal(prefix_end_name(greedy.end), is_again ? "ended" : "cold");
            assert_int_equal(g.prefix.n_from_disk, is_again ? WHOLE : 0);
            assert_int_equal(g.prefix.n_hits, 1 + is_again);
            assert_int_equal(g.prefix.n_reused, N_PROMPT - 1 + (is_again ? WHOLE : 0));
            check_answer(&greedy, o.kv_type);
            check_answer(&seeded, o.kv_type);
            engine_finish(&g);
        }
        expect_told(NULL, NULL);
        assert_int_equal(empty_folder(NULL), 0);
    }
}

static void files_are_for_their_owner_alone(void **state)
{
    (void)state;
    char path[160];
    struct stat s;
    fill_folder();
    list_folder(path);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(stat(folder, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0700);
}

static void short_prefixes_stay_in_memory(void **state)
{
    (void)state;
    struct engine g;
    struct job j = {.n_prompt = SPILL_LEAST - N_ANSWER};
    open_usual(&g);
    run(&g, &j);
    run(&g, &j);
    for (int i = 0; i < 20; i++) {
        step(&g);
    }
    engine_finish(&g);
    assert_int_equal(n_files(), 0);
}

static void a_prefix_that_was_found_is_written_between_steps(void **state)
{
    (void)state;
    struct engine g;
    struct job j = usual_job(), other = {.prompt = 3, .n_prompt = 10};
    open_usual(&g);
    run(&g, &j);
    for (int i = 0; i < 20; i++) {
        step(&g);
    }
    assert_int_equal(n_files(), 0); /* nobody came back for it yet */
    uint32_t woken_before = count_woken();
    run(&g, &j);
    for (uint32_t i = 0; i < MAX_WAITS && (n_files() < WHOLE / TILE || g.prefix.n_marked > 0);
         i++) {
        step(&g);
    }
    assert_int_equal(n_files(), WHOLE / TILE);
    assert_true(count_woken() > woken_before); /* so who sleeps steps again */
    run(&g, &other);
    run(&g, &j);
    assert_int_equal(g.prefix.n_marked, 0); /* it is there already */
    prefix_finish(&g.prefix);
    engine_finish(&g);
    expect_restart(WHOLE);
    expect_told(NULL, NULL);
}

static void a_file_whose_page_is_found_counts_as_used(void **state)
{
    (void)state;
    char path[160];
    struct stat s;
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    fill_folder();
    path_of(2, path);
    for (int is_due = 0; is_due < 2; is_due++) {
        struct engine g;
        struct job j = usual_job();
        open_usual(&g);
        run(&g, &j);
        assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
        for (uint32_t i = 0; is_due && i < g.kv.n_pages; i++) {
            g.prefix.nodes[i].kept_s = 0; /* it is long ago */
        }
        run(&g, &j);
        while (g.prefix.n_marked > 0 || !spill_disk_is_free(g.spill->disk)) {
            step(&g);
        }
        assert_int_equal(stat(path, &s), 0);
        assert_true(is_due ? s.st_mtim.tv_sec > 1000 : s.st_mtim.tv_sec == 1000);
        prefix_finish(&g.prefix);
        engine_finish(&g);
    }
    expect_told(NULL, NULL);
}

static void salts_keep_prefixes_apart(void **state)
{
    (void)state;
    struct engine g;
    struct job j = usual_job();
    fill_folder();
    open_usual(&g);
    j.salt = 5;
    run(&g, &j);
    assert_int_equal(j.n_cached, 0);
    check_answer(&j, KERN_KV_Q16);
    engine_finish(&g);
    assert_int_equal(n_files(), 2 * WHOLE / TILE);
    open_usual(&g);
    run(&g, &j);
    assert_int_equal(j.n_cached, WHOLE);
    engine_finish(&g);
    expect_restart(WHOLE);
    expect_told(NULL, NULL);
}

static void what_others_computed_is_not_seen(void **state)
{
    (void)state;
    struct spill_options spill = spill_options();
    struct engine_options o = engine_options(&spill);
    fill_folder();
    for (int i = 0; i < 3; i++) {
        struct engine g;
        struct job j = usual_job();
        o.kv_type = (enum kern_kv)((i + 1) % KERN_KV_COUNT);
        spill.maker.bytes[3] = i == 2; /* of another model */
        open_engine(&g, &o);
        run(&g, &j);
        assert_int_equal(j.n_cached, 0);
        check_answer(&j, o.kv_type);
        engine_finish(&g);
    }
    assert_int_equal(n_files(), 4 * WHOLE / TILE);
    expect_told(NULL, NULL);
}

/* --- what lies there instead */

static void change_byte(const char *path, off_t at)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_file_is_told_removed_and_computed(void **state)
{
    (void)state;
    static const off_t places[] = {3, 9, 20, 35, 41, 50, 60, 80, 5000};
    static const char *const messages[] = {
        "not a file of keys", "version", "another model",  "another prefix", "another prefix",
        "with a page",        "damaged", "another prefix", "damaged"};
    for (uint32_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint32_t n = i % 4;
        char path[160];
        fill_folder();
        path_of(n + 1, path);
        change_byte(path, places[i]);
        expect_restart(n * TILE);
        assert_int_equal(n_woken_when_told, n + 1); /* nobody waits for who is told */
        expect_told(messages[i], "; the prompt is computed");
        assert_int_equal(access(path, F_OK), -1);
        expect_restart(n * TILE);
        expect_told(NULL, NULL);
    }
}

static void a_file_of_another_length_or_prefix_is_told(void **state)
{
    (void)state;
    char path[160], other[160];
    fill_folder();
    path_of(3, path);
    path_of(2, other);
    assert_int_equal(truncate(path, 5000), 0);
    expect_restart(2 * TILE);
    expect_told("5000 bytes with a page", "; the prompt is computed");
    assert_int_equal(rename(other, path), 0);
    expect_restart(TILE); /* the second is gone */
    expect_told(NULL, NULL);
    fill_folder();
    path_of(4, other);
    assert_int_equal(rename(path, other), 0);
    expect_restart(2 * TILE);
    expect_told(NULL, NULL);
    fill_folder();
    assert_int_equal(remove(other), 0);
    assert_int_equal(link(path, other), 0);
    expect_restart(3 * TILE);
    expect_told("of another prefix", "; the prompt is computed");
}

static void what_is_no_file_is_told(void **state)
{
    (void)state;
    char path[160];
    fill_folder();
    path_of(2, path);
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_restart(TILE);
    expect_told("not a regular file", "; the prompt is computed");
    assert_int_equal(symlink("/dev/zero", path), 0);
    expect_restart(TILE);
    expect_told("cannot be opened", "; the prompt is computed");
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_restart(TILE);
    expect_told("Is a directory", "; the prompt is computed");
}

/* --- the folder */

static void the_limit_holds(void **state)
{
    (void)state;
    struct spill_options spill = spill_options();
    struct engine_options o = engine_options(&spill);
    struct engine g;
    char path[160];
    struct stat s;
    fill_folder();
    path_of(4, path);
    assert_int_equal(stat(path, &s), 0); /* the largest */
    empty_folder(NULL);
    spill.limit_bytes = 3 * (uint64_t)s.st_size;
    for (uint32_t prompt = 0; prompt < 3; prompt++) {
        struct job j = usual_job();
        j.prompt = prompt;
        open_engine(&g, &o);
        run(&g, &j);
        check_answer(&j, KERN_KV_Q16);
        engine_finish(&g);
        assert_in_range(n_files(), 2, 3);
        expect_told(NULL, NULL);
    }
    spill.limit_bytes = 1000;
    struct job j = usual_job();
    open_engine(&g, &o);
    run(&g, &j);
    engine_finish(&g);
    expect_told("bytes are more than the limit of the folder, 1000", "; no prefixes are kept");
}

/* A page looks a second older for each before it, whenever it was written. */
static void the_end_of_a_prefix_goes_first(void **state)
{
    (void)state;
    char path[160];
    time_t begin = time(NULL);
    fill_folder();
    time_t end = time(NULL);
    for (uint32_t i = 0; i < 4; i++) {
        struct stat s;
        path_of(i + 1, path);
        assert_int_equal(stat(path, &s), 0);
        assert_in_range(s.st_mtim.tv_sec + (time_t)i + 1, begin, end + 1);
    }
}

static void a_folder_that_cannot_be_is_told_once(void **state)
{
    (void)state;
    static const char *const folders[] = {"/proc/none/pages", "/dev/null/pages"};
    for (size_t i = 0; i < 2; i++) {
        struct spill_options spill = spill_options();
        struct engine_options o = engine_options(&spill);
        struct engine g;
        struct job j = usual_job();
        spill.folder = folders[i];
        open_engine(&g, &o);
        run(&g, &j);
        run(&g, &j);
        check_answer(&j, KERN_KV_Q16);
        engine_finish(&g);
        expect_told(folders[i], "; no prefixes are kept for ten minutes");
    }
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    struct spill_options spill = spill_options();
    struct engine_options o = engine_options(&spill);
    struct engine g;
    struct error e = {0};
    spill.folder = long_name;
    assert_false(engine_init(&g, &model, pool, &o, &e));
    assert_int_equal(e.code, ERROR_IO);
}

static void two_engines_share_a_folder(void **state)
{
    (void)state;
    struct engine g[2];
    struct job jobs[2] = {usual_job(), usual_job()};
    open_usual(&g[0]);
    open_usual(&g[1]);
    for (int i = 0; i < 2; i++) {
        run(&g[i], &jobs[i]);
        run(&g[i], &jobs[i]);
    }
    while (g[0].prefix.n_marked + g[1].prefix.n_marked > 0) { /* both write the same pages */
        step(&g[0]);
        step(&g[1]);
    }
    engine_finish(&g[0]);
    engine_finish(&g[1]);
    expect_told(NULL, NULL);
    assert_int_equal(n_files(), WHOLE / TILE);
    expect_restart(WHOLE);
    expect_told(NULL, NULL);
}

/* --- beside each other */

static void others_go_on_while_one_waits_for_the_disk(void **state)
{
    (void)state;
    struct engine g;
    struct job jobs[2] = {usual_job(), {.prompt = 2, .n_prompt = 40}};
    struct job *slow = &jobs[0], *other = &jobs[1];
    fill_folder();
    open_usual(&g);
    open_job(&g, slow);
    open_job(&g, other);
    assert_true(step(&g));
    assert_true(other->s->has_token && !slow->s->has_token && slow->s->kv.n_tokens == 0);
    engine_close(&g, slow->s); /* its page comes, and nobody takes it */
    finish_jobs(&g, other, 1);
    check_answer(other, KERN_KV_Q16);
    other->prompt = 3;
    open_job(&g, slow);
    open_job(&g, other);
    finish_jobs(&g, jobs, 2);
    assert_int_equal(slow->n_cached, WHOLE);
    check_answer(slow, KERN_KV_Q16);
    check_answer(other, KERN_KV_Q16);
    engine_finish(&g);
    expect_told(NULL, NULL);
}

/* Two contexts of memory for four sequences: pages are evicted, given up, written and read. */
static void anything_at_once_changes_no_byte(void **state)
{
    (void)state;
    uint64_t n_read = 0, n_preempted = 0;
    for (uint32_t round = 0; round < 4; round++) {
        struct spill_options spill = spill_options();
        struct engine_options o = engine_options(&spill);
        struct engine g;
        o.kv_bytes = kv_bytes(&model.config, KERN_KV_Q16, 9 * TILE);
        o.batch = round % 2 ? 70 : 512;
        o.max_guesses = round < 2 ? 0 : 7;
        open_engine(&g, &o);
        for (uint32_t i = 0; i < 6; i++) {
            struct job jobs[4];
            for (uint32_t k = 0; k < 4; k++) {
                jobs[k] = (struct job){.prompt = (i + k) % N_PROMPTS,
                                       .n_prompt = k == 3 ? 140 : N_PROMPT + 20 * k,
                                       .n_more = MAX_ANSWER - N_ANSWER,
                                       .is_seeded = k == 1,
                                       .salt = k == 2 ? i % 2 : 0};
                open_job(&g, &jobs[k]);
                step(&g);
                for (uint32_t l = 0; l <= k; l++) {
                    advance(&g, &jobs[l]);
                }
            }
            finish_jobs(&g, jobs, 4);
            for (uint32_t k = 0; k < 4; k++) {
                check_answer(&jobs[k], KERN_KV_Q16);
            }
        }
        n_read += g.prefix.n_from_disk;
        n_preempted += g.n_preempted;
        engine_finish(&g);
    }
    assert_true(n_read >= 10 * TILE && n_preempted > 0);
    expect_told(NULL, NULL);
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    struct spill_options spill = spill_options();
    struct engine_options o = engine_options(&spill);
    struct engine g;
    uint32_t n_spill = 0;
    bool ok = false;
    for (size_t n = 1; !ok; n++) {
        struct error e = {0};
        mem_fail_nth(n);
        ok = engine_init(&g, &model, pool, &o, &e);
        mem_fail_nth(0);
        assert_int_equal(e.code, ok ? ERROR_NONE : ERROR_MEMORY);
        n_spill += strstr(e.text, "spilled") != NULL;
    }
    assert_int_equal(n_spill, 5);
    engine_finish(&g);
}

/* --- */

static int set_up(void **state)
{
    (void)state;
    struct error e = {0};
    pool = pool_create(2, &e);
    file = gguf_open(model_path, &e);
    const struct model_load_options o = {0};
    if (pool == NULL || file == NULL || mkdtemp(home) == NULL ||
        !model_load(&model, file, kern_get(kern_best(), NULL), &o, pool, &e)) {
        fail_msg("%s: %s", model_path, e.text);
    }
    snprintf(folder, sizeof folder, "%s/cache/pages", home);
    return 0;
}

static int tear_down(void **state)
{
    char cache[64];
    empty_folder(state);
    snprintf(cache, sizeof cache, "%s/cache", home);
    rmdir(cache);
    model_finish(&model);
    pool_destroy(pool);
    gguf_destroy(file);
    return rmdir(home);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    snprintf(model_path, sizeof model_path, "%.*stiny.gguf",
             slash != NULL ? (int)(slash - argv[0] + 1) : 0, argv[0]);
#define TEST(name) cmocka_unit_test_teardown(name, empty_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_restart_finds_long_prefixes),
        TEST(files_are_for_their_owner_alone),
        TEST(short_prefixes_stay_in_memory),
        TEST(a_prefix_that_was_found_is_written_between_steps),
        TEST(a_file_whose_page_is_found_counts_as_used),
        TEST(salts_keep_prefixes_apart),
        TEST(what_others_computed_is_not_seen),
        TEST(a_damaged_file_is_told_removed_and_computed),
        TEST(a_file_of_another_length_or_prefix_is_told),
        TEST(what_is_no_file_is_told),
        TEST(the_limit_holds),
        TEST(the_end_of_a_prefix_goes_first),
        TEST(a_folder_that_cannot_be_is_told_once),
        TEST(two_engines_share_a_folder),
        TEST(others_go_on_while_one_waits_for_the_disk),
        TEST(anything_at_once_changes_no_byte),
        TEST(every_failing_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests_name("spilled prefixes", tests, set_up, tear_down);
}
