/* require.h - what a fuzz target expects: whatever is not so is a find. */
#ifndef TESTS_FUZZ_REQUIRE_H
#define TESTS_FUZZ_REQUIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called by libFuzzer, or by replay.c, for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define require(condition) require_true((condition), #condition, __FILE__, __LINE__)

static inline void require_true(bool is_so, const char *what, const char *file, int line)
{
    if (!is_so) {
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
        abort();
    }
}

#endif
