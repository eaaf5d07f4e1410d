/* settings.h - options of a command from three places: the command line, the environment, a file of
 * options (base/config_file.h). What a place further in front says of an option replaces all that
 * those behind it say. Values are checked by the option's own rules wherever they come from. */
#ifndef CMD_SETTINGS_H
#define CMD_SETTINGS_H

#include "base/buf.h"
#include "cmd/options.h"

enum settings_source { SETTINGS_LINE, SETTINGS_ENVIRONMENT, SETTINGS_FILE };

struct setting {
    const struct option_spec *spec;
    const char *value; /* NULL: a flag that was given */
    enum settings_source source;
    uint32_t line; /* of the file */
};

struct settings {
    /* Set by the owner. The table has the options "config", a text, and "print-config", a flag. */
    const char *prefix; /* of variables: "PUNA_SERVE_" and the name in capitals, '_' for '-' */
    char **environment; /* "NAME=value", NULL at the end */
    const char *config; /* what --config says */
    bool print;         /* what --print-config says */

    /* Private; values point into them. */
    struct setting *list;
    size_t n, capacity;
    struct buf file;
    char *pieces; /* of variables with several values */
    struct option_spec operand;
};

/* As options_parse(), and then the other places; the one operand may be a setting, too: `model`.
 * ERROR_USAGE names the variable, or the file and its line; ERROR_IO the file that cannot be read.
 * settings_finish() after a failure, too; values live until then. */
enum options_result settings_parse(struct settings *s, const struct options_usage *usage,
                                   const struct option_spec *specs, size_t n_specs,
                                   const struct options_line *line, struct error *e);
void settings_finish(struct settings *s);

/* All options with their values and where these come from, on stdout, as a configuration file. */
void settings_print(const struct settings *s, const struct option_spec *specs, size_t n_specs);

#endif
