/* json_why.h - what is wrong with a JSON text, in words for whoever wrote it. Pure. */
#ifndef BASE_JSON_WHY_H
#define BASE_JSON_WHY_H

#include <jansson.h>

/* What a function of jansson's that failed says in *why, and of a number that it cannot hold, which
 * numbers it can. As long-lived as *why; its line and column are where the number ends. */
const char *json_why(const json_error_t *why);

#endif
