/* test_program.c - programs that do as they are asked, fail, hang, flood, leave others behind. */
#include "base/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 60000, SHORT_MS = 200, MANY_BYTES = 300000 };

struct outcome {
    bool ok;
    struct program_result result;
    struct buf out;
    struct error e;
};

static struct outcome run(const char *path, const char *const *arguments, struct program p,
                          size_t max_bytes)
{
    static char *const environment[] = {(char *)"GREETING=hello", (char *)"PATH=/usr/bin:/bin",
                                        NULL};
    struct outcome o = {.ok = false};
    p.path = path;
    p.arguments = (char *const *)arguments;
    p.environment = environment;
    buf_init(&o.out, max_bytes);
    o.ok = program_run(&p, &o.out, &o.result, &o.e);
    return o;
}

/* A script of the shell. */
static struct outcome run_script(const char *script, uint32_t timeout_ms, size_t max_bytes)
{
    const char *arguments[] = {"sh", "-c", script, "name", NULL};
    return run("/bin/sh", arguments, (struct program){.timeout_ms = timeout_ms}, max_bytes);
}

static void expect(struct outcome o, enum program_end end, int number, const char *text)
{
    assert_true(o.ok);
    assert_int_equal(o.e.code, ERROR_NONE);
    assert_int_equal(o.result.end, end);
    assert_int_equal(o.result.number, number);
    if (text != NULL) {
        assert_int_equal(o.out.n, strlen(text));
        assert_memory_equal(o.out.n > 0 ? o.out.data : "", text, o.out.n);
    }
    buf_finish(&o.out);
}

/* More than a pipe holds, both ways, with bytes of all values. */
static void a_program_gets_its_input_and_gives_its_output(void **state)
{
    (void)state;
    static char text[MANY_BYTES];
    const char *arguments[] = {"cat", NULL};
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(i * 7);
    }
    struct program p = {.input = {text, sizeof text}, .timeout_ms = LONG_MS};
    struct outcome o = run("/bin/cat", arguments, p, sizeof text);
    assert_true(o.ok && o.result.end == PROGRAM_EXITED && o.out.n == sizeof text);
    assert_memory_equal(o.out.data, text, sizeof text);
    buf_finish(&o.out);
}

static void it_has_its_arguments_and_environment_and_no_signals_of_ours(void **state)
{
    (void)state;
    expect(run_script("printf '%s %s' \"$0\" \"$GREETING\"; cat", LONG_MS, 100), PROGRAM_EXITED, 0,
           "name hello");
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGPIPE, SIG_IGN);
    struct outcome o = run_script("grep -E 'Sig(Blk|Ign)' /proc/self/status", LONG_MS, 200);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    unsigned long long is_blocked, is_ignored; /* bit n - 1: signal n */
    assert_true(o.ok && buf_append_byte(&o.out, '\0', NULL));
    assert_int_equal(sscanf(o.out.data, "SigBlk: %llx SigIgn: %llx", &is_blocked, &is_ignored), 2);
    assert_int_equal(is_blocked, 0);
    assert_int_equal(is_ignored & 0x7FFFFFFF, 0);
    buf_finish(&o.out);
}

static void how_it_ended_is_told(void **state)
{
    (void)state;
    expect(run_script("echo so far; exit 3", LONG_MS, 100), PROGRAM_EXITED, 3, "so far\n");
    expect(run_script("kill -SEGV $$", LONG_MS, 100), PROGRAM_KILLED, SIGSEGV, "");
    expect(run_script("exec >&-; sleep 0.1; exit 4", LONG_MS, 100), PROGRAM_EXITED, 4, "");
}

static void output_is_bounded(void **state)
{
    (void)state;
    expect(run_script("printf 12345678", LONG_MS, 8), PROGRAM_EXITED, 0, "12345678");
    static const char *const too_long[] = {"printf 123456789", "exec yes"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome o = run_script(too_long[i], LONG_MS, 8);
        assert_true(o.ok && o.e.code == ERROR_NONE);
        assert_int_equal(o.result.end, PROGRAM_TOO_LONG);
        assert_true(o.out.n <= 8);
        buf_finish(&o.out);
    }
}

static bool runs(long pid)
{
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        assert_int_equal(fscanf(f, "%*d %*s %c", &state), 1);
        fclose(f);
    }
    return state != 'Z' && state != 'X';
}

static void it_and_its_children_are_ended_when_the_time_is_over(void **state)
{
    (void)state;
    struct outcome o = run_script("sleep 600 & echo $!; wait", SHORT_MS, 100);
    assert_true(o.ok && o.result.end == PROGRAM_OUT_OF_TIME && o.out.n > 1);
    assert_true(buf_append_byte(&o.out, '\0', NULL));
    long child = strtol(o.out.data, NULL, 10);
    for (int i = 0; i < 500 && runs(child); i++) {
        usleep(10000);
    }
    assert_false(runs(child));
    buf_finish(&o.out);
}

static void one_that_does_not_listen_is_ended_all_the_same(void **state)
{
    (void)state;
    expect(run_script("trap '' TERM; while :; do sleep 0.05; done", SHORT_MS, 100),
           PROGRAM_OUT_OF_TIME, SIGKILL, NULL);
    expect(run_script("trap 'exit 7' TERM; while :; do sleep 0.05; done", SHORT_MS, 100),
           PROGRAM_OUT_OF_TIME, 7, NULL);
}

static void what_it_leaves_behind_is_not_waited_for_and_goes_on(void **state)
{
    (void)state;
    struct outcome o = run_script("sleep 600 & echo $!", LONG_MS, 100);
    assert_true(o.ok && o.result.end == PROGRAM_EXITED && o.out.n > 1);
    assert_true(buf_append_byte(&o.out, '\0', NULL));
    long child = strtol(o.out.data, NULL, 10);
    assert_true(runs(child));
    assert_int_equal(kill((pid_t)child, SIGKILL), 0);
    buf_finish(&o.out);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    const volatile sig_atomic_t stop = 1;
    const char *arguments[] = {"sleep", "600", NULL};
    expect(run("/bin/sleep", arguments, (struct program){.timeout_ms = LONG_MS, .stop = &stop}, 10),
           PROGRAM_STOPPED, SIGTERM, "");
}

static void what_cannot_be_started_is_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text;
    } cases[] = {{"/no/such", "/no/such could not be started: No such file or directory"},
                 {"/tmp", "/tmp could not be started: Permission denied"},
                 {"/etc/passwd", "/etc/passwd could not be started: Permission denied"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *arguments[] = {"x", NULL};
        struct outcome o = run(cases[i].path, arguments, (struct program){0}, 10);
        assert_false(o.ok);
        assert_int_equal(o.e.code, ERROR_IO);
        assert_string_equal(o.e.text, cases[i].text);
        buf_finish(&o.out);
    }
}

static void a_program_is_found_as_a_shell_finds_it(void **state)
{
    (void)state;
    char path[PATH_MAX] = "untouched", folder[] = "/tmp/puna-program-XXXXXX", file[64];
    struct error e = {0};
    assert_true(program_find("sh", "::/no/such:/bin:/usr/bin", path, &e));
    assert_string_equal(path, "/bin/sh");
    assert_true(program_find("/bin/sh", NULL, path, &e));
    assert_string_equal(path, "/bin/sh");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/sh", folder);
    FILE *f = fopen(file, "w"); /* not executable */
    assert_non_null(f);
    fclose(f);
    char search[128];
    snprintf(search, sizeof search, "%s:/bin", folder);
    assert_true(program_find("sh", search, path, &e));
    assert_string_equal(path, "/bin/sh");
    assert_false(program_find(file, search, path, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    assert_false(program_find(folder, search, path, &e));
    assert_int_equal(e.code, ERROR_USAGE);
    unlink(file);
    rmdir(folder);
    assert_false(program_find("./sh", "/bin", path, &e));
    assert_int_equal(e.code, ERROR_NOT_FOUND);
    assert_false(program_find("no-such-program", "/bin", path, &e));
    assert_string_equal(e.text, "no program 'no-such-program' in the folders of PATH");
    assert_false(program_find("sh", NULL, path, &e));
    assert_string_equal(path, "/bin/sh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_gets_its_input_and_gives_its_output),
        cmocka_unit_test(it_has_its_arguments_and_environment_and_no_signals_of_ours),
        cmocka_unit_test(how_it_ended_is_told),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(it_and_its_children_are_ended_when_the_time_is_over),
        cmocka_unit_test(one_that_does_not_listen_is_ended_all_the_same),
        cmocka_unit_test(what_it_leaves_behind_is_not_waited_for_and_goes_on),
        cmocka_unit_test(it_stops_when_asked),
        cmocka_unit_test(what_cannot_be_started_is_an_error),
        cmocka_unit_test(a_program_is_found_as_a_shell_finds_it),
    };
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
