/* json_why.c - jansson has one code for integers and real numbers; its text tells them apart. */
#include "base/json_why.h"

#include <string.h>

_Static_assert(sizeof(json_int_t) == 8, "integers of JSON have 64 bits");

const char *json_why(const json_error_t *why)
{
    if (json_error_code(why) != json_error_numeric_overflow) {
        return why->text;
    }
    return strncmp(why->text, "real", strlen("real")) == 0
               ? "a number is not within -1.7976931348623157e308 to 1.7976931348623157e308"
               : "an integer is not within -9223372036854775808 to 9223372036854775807";
}
