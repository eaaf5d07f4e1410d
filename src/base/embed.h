/* embed.h - a file of the source tree as bytes of the program. The assembler reads it, so that no
 * generated C exists; the Makefile names it as what the object depends on. */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#include "base/str.h"

/* Defines `struct str NAME(void)`: the bytes of the file at PATH, which is relative to the top of
 * the tree. They live as long as the program; a NUL follows them. */
#define EMBED_FILE(NAME, PATH)                                                                     \
    __asm__(".pushsection .rodata\n"                                                               \
            "puna_" #NAME ":\n"                                                                    \
            ".incbin \"" PATH "\"\n"                                                               \
            "puna_" #NAME "_end:\n"                                                                \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    extern const char puna_##NAME[] __attribute__((visibility("hidden")));                         \
    extern const char puna_##NAME##_end[] __attribute__((visibility("hidden")));                   \
    struct str NAME(void) {                                                                        \
        uintptr_t start = (uintptr_t)puna_##NAME;                                                  \
        return (struct str){puna_##NAME, (uintptr_t)puna_##NAME##_end - start};                    \
    }

#endif
