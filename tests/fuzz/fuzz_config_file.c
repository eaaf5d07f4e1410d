/* fuzz_config_file.c - a file of options of any bytes. What is read, written again, is read as the
 * same; lines are counted as a plain count of line breaks does. */
#include "base/buf.h"
#include "base/config_file.h"

#include "require.h"

static void check_line(struct str text, const struct config_file_line *line)
{
    uint32_t n = 1;
    require(line->name.n > 0 && config_file_is_value(line->value));
    require(line->name.p > text.p - 1 && line->value.p > line->name.p + line->name.n);
    require(line->value.p + line->value.n <= text.p + text.n);
    for (const char *p = text.p; p < line->name.p; p++) {
        n += *p == '\n';
    }
    require(n == line->number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct str text = {(const char *)data, n_bytes};
    struct config_file_reader reader, again;
    struct config_file_line line, same;
    struct error e = {0}, none = {0};
    struct buf written;
    buf_init(&written, 4 * n_bytes + 64);
    config_file_begin(&reader, text);
    while (config_file_next(&reader, &line, &e)) {
        check_line(text, &line);
        require(buf_append(&written, line.name, NULL) && buf_append(&written, STR("="), NULL) &&
                buf_append(&written, line.value, NULL) && buf_append(&written, STR("\n"), NULL));
    }
    require(e.code == ERROR_NONE || (e.code == ERROR_USAGE && e.text[0] != '\0'));
    config_file_begin(&reader, text);
    config_file_begin(&again, buf_str(&written));
    while (config_file_next(&again, &same, &none)) {
        require(config_file_next(&reader, &line, NULL));
        require(str_eq(same.name, line.name) && str_eq(same.value, line.value));
    }
    require(none.code == ERROR_NONE);
    buf_finish(&written);
    return 0;
}
