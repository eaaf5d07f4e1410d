/* api_openapi.h - the OpenAPI 3.1 document of the HTTP API: docs/openapi.json, inside the
 * program. */
#ifndef SERVE_API_OPENAPI_H
#define SERVE_API_OPENAPI_H

#include "base/str.h"

/* The document as it stands in docs/. Static. */
struct str api_openapi_json(void);

#endif
