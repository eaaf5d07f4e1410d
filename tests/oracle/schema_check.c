/* schema_check.c - what Puna says of JSON schemas, for the comparisons of tests/oracle: one JSON
 * object a line on standard input
 *   {"schema": SCHEMA, "instances": [VALUE, ...]}
 * one a line on standard output
 *   {"verdicts": [["valid" | "invalid" | "unchecked", TEXT], ...]} */
#include "schema/schema_validate.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const outcome_names[] = {
    [SCHEMA_VALID] = "valid", [SCHEMA_INVALID] = "invalid", [SCHEMA_UNCHECKED] = "unchecked"};

static json_t *verdicts(const json_t *schema, const json_t *instances)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(instances); i++) {
        struct schema_verdict v;
        schema_validate(schema, json_array_get(instances, i), NULL, &v);
        json_array_append_new(list, json_pack("[s, s]", outcome_names[v.outcome], v.text));
    }
    return list;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        json_error_t why;
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why);
        json_t *result = request != NULL
                             ? json_pack("{s:o}", "verdicts",
                                         verdicts(json_object_get(request, "schema"),
                                                  json_object_get(request, "instances")))
                             : json_pack("{s:s}", "error", why.text);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(result);
        json_decref(request);
    }
    free(line);
    return 0;
}
