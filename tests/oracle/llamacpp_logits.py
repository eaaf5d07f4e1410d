#!/usr/bin/env python3
"""Writes llama.cpp's logits for a text (LICENSE) as Puna tokenises it, f32, one row of the vocabulary
a token, as `puna score --logits` does: kl.py sets them beside Puna's own.

usage: llamacpp_logits.py LIBLLAMA.so MODEL OUT.f32 [TEXT]  (the shared library of a build of llama.cpp)

Everything is llama.cpp's default but the context length and the threads: its own kernels on the
quantised weights, f16 keys and values, 512 tokens a batch."""
import ctypes
import os
import pathlib
import sys

import numpy as np

import token_common as common
from program import PUNA, ROOT

BATCH = 512


class Params(ctypes.Structure):
    """Room for llama.cpp's parameter structs, which are passed by value. Their layout changes between
    versions; only the first words of llama_context_params are touched here, and looked at before."""
    _fields_ = [("n_ctx", ctypes.c_uint32), ("n_batch", ctypes.c_uint32), ("n_ubatch", ctypes.c_uint32),
                ("rest", ctypes.c_uint32 * 253)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.c_void_p), ("embd", ctypes.c_void_p),
                ("pos", ctypes.c_void_p), ("n_seq_id", ctypes.c_void_p), ("seq_id", ctypes.c_void_p),
                ("logits", ctypes.c_void_p)]


def open_library(path):
    lib = ctypes.CDLL(path)
    pointer, int32 = ctypes.c_void_p, ctypes.c_int32
    for name, result, *arguments in (
            ("llama_backend_init", None),
            ("llama_model_default_params", Params),
            ("llama_context_default_params", Params),
            ("llama_model_load_from_file", pointer, ctypes.c_char_p, Params),
            ("llama_model_get_vocab", pointer, pointer),
            ("llama_vocab_n_tokens", int32, pointer),
            ("llama_init_from_model", pointer, pointer, Params),
            ("llama_set_n_threads", None, pointer, int32, int32),
            ("llama_decode", int32, pointer, Batch),
            ("llama_get_logits", ctypes.POINTER(ctypes.c_float), pointer)):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.llama_backend_init()
    return lib


def logits(lib, model_path, ids):
    """Yields arrays (tokens of a batch, vocabulary)."""
    model = lib.llama_model_load_from_file(os.fsencode(model_path), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    head = params.n_ctx, params.n_batch, params.n_ubatch
    assert head == (512, 2048, 512), f"another layout of llama_context_params: {head}"
    params.n_ctx = len(ids)
    context = model and lib.llama_init_from_model(model, params)
    assert context, "llama.cpp cannot open the model"
    threads = len(os.sched_getaffinity(0))
    lib.llama_set_n_threads(context, threads, threads)
    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    for start in range(0, len(ids), BATCH):
        part = np.array(ids[start:start + BATCH], np.int32)
        wanted = np.ones(len(part), np.int8)
        batch = Batch(n_tokens=len(part), token=part.ctypes.data, logits=wanted.ctypes.data)
        code = lib.llama_decode(context, batch)
        assert code == 0, f"llama_decode: {code}"
        yield np.ctypeslib.as_array(lib.llama_get_logits(context), (len(part), n_vocab))


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    library, model, out, *text = sys.argv[1:]
    ids = common.puna_one(PUNA, model, pathlib.Path(*text or [ROOT / "LICENSE"]).read_bytes())["ids"]
    with open(out, "wb") as file:
        for rows in logits(open_library(library), model, ids):
            file.write(rows.tobytes())
    print(f"{len(ids)} tokens")


if __name__ == "__main__":
    main()
