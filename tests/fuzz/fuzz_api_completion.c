/* fuzz_api_completion.c - bodies of completions from any bytes. */
#include "api_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    check_body(API_COMPLETION, data, n_bytes);
    return 0;
}
