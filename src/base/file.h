/* file.h - whole ranges of bytes of an open file, of which ERROR_IO quotes the system; and numbers
 * that the kernel tells. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* ERROR_FORMAT, naming the byte, when the file ends before. */
bool file_read_at(int fd, void *dst, size_t n_bytes, uint64_t offset, struct error *e);
bool file_write_at(int fd, const void *src, size_t n_bytes, uint64_t offset, struct error *e);

/* The space of the whole file at once, where the file system can: a full disk is found before the
 * first byte is written. */
bool file_reserve(int fd, uint64_t n_bytes, struct error *e);

/* *out = its size. ERROR_FORMAT for what is no regular file. */
bool file_size(int fd, uint64_t *out, struct error *e);

/* *out = the number behind a line's first word `key`; false when the file has no such line. */
bool file_find_number(const char *path, const char *key, uint64_t *out);

#endif
