/* captured.h - a subcommand as main.c would run it, with what it prints in memory. */
#ifndef TESTS_FUZZ_CAPTURED_H
#define TESTS_FUZZ_CAPTURED_H

#include "base/str.h"
#include "cmd/cmd.h"

#include "require.h"

struct captured {
    int code; /* with which the program would have ended */
    char *out, *err;
    size_t n_out, n_err;
};

static inline void captured_run(struct captured *c, cmd_fn *run, const struct cmd_env *env,
                                int argc, char **argv)
{
    FILE *own_out = stdout, *own_err = stderr;
    *c = (struct captured){0};
    FILE *out = open_memstream(&c->out, &c->n_out), *err = open_memstream(&c->err, &c->n_err);
    require(out != NULL && err != NULL);
    stdout = out;
    stderr = err;
    c->code = run(env, argc, argv);
    stdout = own_out;
    stderr = own_err;
    fclose(out);
    fclose(err);
}

static inline void captured_finish(struct captured *c)
{
    free(c->out);
    free(c->err);
}

/* A failure has one line, of plain characters alone, on the error output, and nothing on the
 * other. */
static inline void captured_check_failure(const struct captured *c)
{
    struct str err = {c->err, c->n_err};
    require(c->code > 0 && c->code < 10 && c->n_out == 0);
    require(str_starts_with(err, STR("puna ")) && err.p[err.n - 1] == '\n');
    for (size_t i = 0; i + 1 < err.n; i++) {
        require((unsigned char)err.p[i] >= 0x20 && err.p[i] != 0x7F);
    }
}

#endif
