/* require.h - what a fuzz target expects: whatever is not so is a find. */
#ifndef TESTS_FUZZ_REQUIRE_H
#define TESTS_FUZZ_REQUIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Called by libFuzzer, or by replay.c, for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static inline void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

#endif
