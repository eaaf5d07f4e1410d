/* fuzz_api_chat.c - bodies of chats from any bytes. */
#include "api_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    check_body(API_CHAT, data, n_bytes);
    return 0;
}
