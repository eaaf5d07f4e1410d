/* version.c - `puna version`: version, compiler, kernel sets and numerics of this build on this
 * CPU. */
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "kern/kern.h"

#include <stdio.h>

int cmd_version(const struct cmd_env *env, int argc, char **argv)
{
    (void)env;
    static const struct options_usage usage = {
        .command = "version",
        .synopsis = "[OPTION]...",
        .about =
            "Print the version, the compiler, the kernel sets that this CPU runs (the last one\n"
            "but amx is the default) and the numerics of the default.",
    };
    const struct option_spec specs[] = {{OPTION_HEADING, .help = "Options"}};
    OPTIONS_OR_RETURN(&usage, specs, argc, argv, NULL, 0);
    printf("puna %s\ncompiler %s\nkernels", PUNA_VERSION, __VERSION__);
    for (int set = 0; set < KERN_SET_COUNT; set++) {
        if (kern_get((enum kern_set)set, NULL) != NULL) {
            printf(" %s", kern_name((enum kern_set)set));
        }
    }
    printf("\nnumerics %s", kern_numerics_name(KERN_PORTABLE));
    if (kern_get_bf16(kern_best(), NULL) != NULL) {
        printf(" %s", kern_numerics_name(KERN_BF16));
    }
    putchar('\n');
    return cmd_finish_output("version", 0);
}
