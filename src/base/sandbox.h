/* sandbox.h - takes away from this process, for good, what it will not need: with Landlock all
 * files and folders but those that are named and what the kernel tells mem.h and cgroup.h, TCP
 * connections that it would begin, and signals to others; with seccomp the system calls that make
 * processes, sockets and code, and all that are not known to be needed. Both are the kernel's, need
 * no privilege, and one of them or both may be missing. docs/SECURITY.md says what is promised.
 *
 * Threads: both hold for the calling thread and those that it starts: there must be no other. */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include "base/error.h"

#include <stddef.h>

enum sandbox_access {
    SANDBOX_READ,   /* a file, or all below a folder */
    SANDBOX_STORE,  /* also make, write, rename and remove files in the folder */
    SANDBOX_REMOVE, /* remove files in the folder, and nothing else */
};

struct sandbox_path {
    const char *path; /* followed where it is a link; NULL, or not there: it counts for nothing */
    enum sandbox_access access;
};

/* What is in force. */
struct sandbox_state {
    int landlock; /* its version in this kernel; 0: it has none */
    bool seccomp;
};

/* Descriptors of the paths stay open: a rule holds for the file that a path stood for, of which
 * some file systems make another one when nobody holds it.
 * ERROR_INTERNAL when there are other threads; ERROR_IO, after which parts may be in force, when
 * the kernel has a part and refuses it. What it lacks is no error, *out says so. */
bool sandbox_enter(const struct sandbox_path *paths, size_t n_paths, struct sandbox_state *out,
                   struct error *e);

/* Memory of this process is written to no core dump, and no other process of the same user may
 * trace it; with that goes debugging. May come at any time; for all threads. */
bool sandbox_hide_memory(struct error *e);

#endif
