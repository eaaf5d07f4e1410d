/* fuzz_config.c - what `puna serve` is told by its environment and its configuration file: lines of
 * NAME=VALUE, a NUL byte, and the file; without a NUL the file alone. It only prints what it was
 * told (--print-config). Whatever that is, a failure is one line; and what was printed is a file
 * that says the same. */
#include "captured.h"
#include "scratch.h"

enum { MOST_VARIABLES = 16 };

static void run(const char *path, char **environment, struct captured *out)
{
    static char none[] = "";
    char words[4][SCRATCH_PATH_BYTES] = {"serve", "--config", "", "--print-config"};
    char *argv[] = {words[0], words[1], words[2], words[3], NULL};
    snprintf(words[2], sizeof words[2], "%s", path);
    const struct cmd_env env = {.home = none, .all = environment};
    captured_run(out, cmd_serve, &env, 4, argv);
}

/* Appends the lines that set something. */
static char *settings_of(const char *text)
{
    size_t n = 0;
    char *kept = malloc(strlen(text) + 1);
    require(kept != NULL);
    while (*text != '\0') {
        size_t line = strcspn(text, "\n") + 1;
        if (*text != '#') {
            memcpy(kept + n, text, line);
            n += line;
        }
        text += line;
    }
    kept[n] = '\0';
    return kept;
}

/* Values that a file has no way to write are comments there, and so get lost. */
static void check_again(const char *path, const struct captured *first)
{
    static char *nothing[] = {NULL};
    struct captured again;
    if (strstr(first->out, "# not for a file: ") != NULL) {
        return;
    }
    scratch_write(path, first->out, first->n_out);
    run(path, nothing, &again);
    require(again.code == 0);
    char *a = settings_of(first->out), *b = settings_of(again.out);
    require(strcmp(a, b) == 0);
    free(a);
    free(b);
    captured_finish(&again);
}

/* Splits lines in place; those that are no settings of ours mean nothing. */
static void split(char *lines, char **environment)
{
    size_t n = 0;
    for (char *line = lines; line != NULL && n < MOST_VARIABLES;) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        environment[n++] = line;
        line = end != NULL ? end + 1 : NULL;
    }
    environment[n] = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(data, 0, n_bytes) : NULL;
    size_t n_lines = nul != NULL ? (size_t)(nul - data) : 0,
           skipped = nul != NULL ? n_lines + 1 : 0;
    char path[SCRATCH_PATH_BYTES], *environment[MOST_VARIABLES + 1];
    char *lines = malloc(n_lines + 1);
    struct captured c;
    require(lines != NULL);
    memcpy(lines, data, n_lines);
    lines[n_lines] = '\0';
    split(lines, environment);
    scratch_name("config", path);
    scratch_write(path, data + skipped, n_bytes - skipped);
    run(path, environment, &c);
    if (c.code != 0) {
        captured_check_failure(&c);
    } else {
        check_again(path, &c);
    }
    captured_finish(&c);
    scratch_remove(path);
    free(lines);
    return 0;
}
