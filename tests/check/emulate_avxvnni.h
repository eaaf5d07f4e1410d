/* emulate_avxvnni.h - AVX-VNNI for CPUs that lack it: whoever meets its vpdpbusd or vpdpwssd gets
 * the signal of an illegal instruction, whose handler does the instruction's work on the saved
 * registers and goes on behind it. It costs some microseconds an instruction. */
#ifndef TESTS_EMULATE_AVXVNNI_H
#define TESTS_EMULATE_AVXVNNI_H

#include "base/error.h"

#include <stdint.h>

/* For the rest of the process and all its threads. ERROR_UNSUPPORTED in builds for other CPUs than
 * x86-64 or other systems than Linux, and without AVX. */
bool emulate_avxvnni_start(struct error *e);

/* Instructions emulated so far: 0 where the CPU has them. */
uint64_t emulate_avxvnni_count(void);

#endif
