/* replay.c - runs a fuzz target once on every file named in argv and every file of the folders
 * named there, in order of their names. Linked instead of libFuzzer, so that any compiler can do
 * it. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static size_t n_inputs;

static _Noreturn void fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

/* The bytes lie in a block of exactly their size, so that ASan sees any read past them. */
static void replay_file(const char *path, size_t n_bytes)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(n_bytes > 0 ? n_bytes : 1);
    if (f == NULL || data == NULL || fread(data, 1, n_bytes, f) != n_bytes) {
        fail(path);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, n_bytes);
    free(data);
    n_inputs++;
}

static int is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void replay(const char *path)
{
    struct stat s;
    if (stat(path, &s) != 0) {
        fail(path);
    }
    if (!S_ISDIR(s.st_mode)) {
        replay_file(path, (size_t)s.st_size);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, is_visible, alphasort);
    if (n < 0) {
        fail(path);
    }
    for (int i = 0; i < n; i++) {
        char child[4096];
        if (snprintf(child, sizeof child, "%s/%s", path, names[i]->d_name) >= (int)sizeof child) {
            errno = ENAMETOOLONG;
            fail(path);
        }
        free(names[i]);
        replay(child);
    }
    free(names);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        replay(argv[i]);
    }
    printf("%zu inputs replayed\n", n_inputs);
    return 0;
}
