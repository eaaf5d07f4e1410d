/* api_openapi.c - docs/openapi.json as bytes of the program. The assembler reads the file, so that
 * no generated C exists; the Makefile names it as what this object depends on. */
#include "serve/api_openapi.h"

__asm__(".pushsection .rodata\n"
        "puna_openapi_json:\n"
        ".incbin \"docs/openapi.json\"\n"
        "puna_openapi_json_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const char puna_openapi_json[] __attribute__((visibility("hidden")));
extern const char puna_openapi_json_end[] __attribute__((visibility("hidden")));

struct str api_openapi_json(void)
{
    uintptr_t start = (uintptr_t)puna_openapi_json;
    return (struct str){puna_openapi_json, (uintptr_t)puna_openapi_json_end - start};
}
