/* api_openapi.c - docs/openapi.json. */
#include "serve/api_openapi.h"

#include "base/embed.h"

EMBED_FILE(api_openapi_json, "docs/openapi.json")
