"""A small GGUF v3 writer for the tests of the command line, so that they need no package."""

import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q",
           I64: "q", F64: "d"}
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}
ALIGNMENT = 32


def string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def scalar(kind, value):
    return string(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def key(name, kind, value):
    """A pair; a list is an array of `kind`."""
    if isinstance(value, list):
        items = b"".join(scalar(kind, v) for v in value)
        return string(name) + struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    return string(name) + struct.pack("<I", kind) + scalar(kind, value)


def gguf(pairs=(), tensors=()):
    """pairs: (name, kind, value); tensors: (name, type, dims). All data is zero."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(key(*p) for p in pairs)
    offset = 0
    for name, kind, dims in tensors:
        type_id, block, block_bytes = BLOCKS[kind]
        head += string(name) + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", type_id, offset)
        n_items = 1
        for d in dims:
            n_items *= d
        offset += -(-(n_items // block * block_bytes) // ALIGNMENT) * ALIGNMENT
    return head + bytes(-len(head) % ALIGNMENT) + bytes(offset)
