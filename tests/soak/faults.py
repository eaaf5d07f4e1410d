"""The other side of faults.c: which call fails, what the clock says, how much memory is live."""
import errno
import mmap
import pathlib
import struct

KINDS = ("malloc", "read", "write", "accept", "mmap", "open", "sync", "file_read", "file_write", "sqlite", "epoll", "thread")
SHORT = 0  # a read or write of one byte
SQLITE_BUSY, SQLITE_NOMEM, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL = 5, 7, 10, 11, 13
REASONS = {
    "malloc": (errno.ENOMEM,), "read": (errno.EIO, errno.ECONNRESET, errno.EINTR, errno.EAGAIN, SHORT),
    "write": (errno.EPIPE, errno.ENOBUFS, errno.EINTR, errno.EAGAIN, SHORT),
    "accept": (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOMEM, errno.EINTR), "mmap": (errno.ENOMEM,),
    "open": (errno.EMFILE, errno.EACCES, errno.EIO), "sync": (errno.EIO,), "file_read": (errno.EIO, SHORT),
    "file_write": (errno.ENOSPC, errno.EIO, SHORT),
    "sqlite": (SQLITE_BUSY, SQLITE_NOMEM, SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL),
    "epoll": (errno.ENOMEM, errno.ENOSPC), "thread": (errno.EAGAIN,)}
FOR_EVER = 1 << 62
N_HEAD, N_FIELDS = 3, 5
COUNT, FIRST, N_FAILING, REASON, N_FAILED = range(N_FIELDS)
LIBRARY = pathlib.Path("build/release/tests/libfaults.so").resolve()


class Faults:
    """A file of counters, for the programs that run with environment()."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as f:
            f.truncate(4096)
            self.memory = mmap.mmap(f.fileno(), 4096)

    def environment(self):
        options = "verify_asan_link_order=0:allocator_may_return_null=1:fast_unwind_on_malloc=0"
        return {"LD_PRELOAD": str(LIBRARY), "FAULTS": str(self.path), "ASAN_OPTIONS": options,
                "LSAN_OPTIONS": "print_suppressions=0", "UBSAN_OPTIONS": "print_stacktrace=1"}

    def _get(self, i):
        return struct.unpack_from("q", self.memory, 8 * i)[0]

    def _set(self, i, value):
        struct.pack_into("q", self.memory, 8 * i, value)

    def _at(self, kind, field):
        return N_HEAD + N_FIELDS * KINDS.index(kind) + field

    def set_clock(self, seconds):
        self._set(0, seconds)

    def live(self):
        """Blocks and bytes."""
        return self._get(1), self._get(2)

    def count(self, kind):
        return self._get(self._at(kind, COUNT))

    def failed(self, kind):
        return self._get(self._at(kind, N_FAILED))

    def arm(self, kind, n, reason, n_failing=1):
        """The n-th call from now fails, and n_failing - 1 after it."""
        self.disarm(kind)
        self._set(self._at(kind, REASON), reason)
        self._set(self._at(kind, FIRST), self.count(kind) + n)
        self._set(self._at(kind, N_FAILING), n_failing)

    def disarm(self, kind):
        self._set(self._at(kind, N_FAILING), 0)

    def disarm_all(self):
        for kind in KINDS:
            self.disarm(kind)

    def reset(self):
        """As for a program that has not begun."""
        self.memory[:] = bytes(len(self.memory))


def name_of(kind, reason):
    if reason == SHORT:
        return "one byte"
    if kind == "sqlite":
        return {SQLITE_BUSY: "BUSY", SQLITE_NOMEM: "NOMEM", SQLITE_IOERR: "IOERR", SQLITE_CORRUPT: "CORRUPT",
                SQLITE_FULL: "FULL"}[reason]
    return errno.errorcode[reason]
