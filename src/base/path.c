/* path.c - makes folders. */
#include "base/path.h"

#include <string.h>
#include <sys/stat.h>

void path_make_parents(char *path)
{
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
}
