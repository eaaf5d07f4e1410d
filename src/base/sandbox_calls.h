/* sandbox_calls.h - the part of sandbox.h that is about system calls. */
#ifndef BASE_SANDBOX_CALLS_H
#define BASE_SANDBOX_CALLS_H

#include "base/error.h"

/* A build with a sanitizer, which needs more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_HAS_SANITIZER 1
#endif
#endif
#ifndef SANDBOX_HAS_SANITIZER
#define SANDBOX_HAS_SANITIZER 0
#endif

/* Whether the kernel has seccomp with filters. */
bool sandbox_calls_can(void);

/* The calling thread and those that it starts may from now on use the system calls alone that a
 * server needs which is loading its model or is loaded. Others fail with EPERM; an attempt to start
 * another program, or to look into another process, ends this one with SIGSYS.
 * Needs no_new_privs. */
bool sandbox_calls_restrict(struct error *e);

/* Writes the same rules to an open file, as libseccomp prints them, for tests: also where a kernel
 * has no seccomp. */
bool sandbox_calls_print(int fd, struct error *e);

#endif
