/* fuzz_api_other.c - bodies of requests from any bytes, at every endpoint that has one but chats
 * and completions: embeddings, tokenize, detokenize, apply-template, keys/ephemeral. */
#include "api_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int endpoint = API_EMBEDDING; endpoint < API_ENDPOINT_COUNT; endpoint++) {
        check_body((enum api_endpoint)endpoint, data, n_bytes);
    }
    return 0;
}
