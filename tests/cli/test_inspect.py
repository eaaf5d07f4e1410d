"""`puna inspect` as a user meets it: both outputs, what is unusual in a file, and what is wrong.
The binary is $PUNA (default build/release/puna). Real files: tests/oracle/gguf_compare.py."""

import json
import os
import subprocess

import pytest

from gguf_file import (ARRAY, BOOL, F32, F64, I32, I64, STRING, U8, U16, U32, U64, gguf, string)

PUNA = os.environ.get("PUNA", "build/release/puna")

LLAMA = [
    ("general.architecture", STRING, "llama"),
    ("llama.block_count", U32, 2),
    ("llama.context_length", U32, 4096),
    ("llama.embedding_length", U32, 256),
    ("llama.attention.head_count", U32, 4),
    ("llama.attention.head_count_kv", U32, 2),
]
TENSORS = [("token_embd.weight", "Q8_0", [256, 10]), ("output_norm.weight", "F32", [256])]


@pytest.fixture
def model(tmp_path):
    """model(pairs, tensors) or model(data=bytes): path of such a file."""
    def make(pairs=(), tensors=(), data=None, name="m.gguf"):
        path = tmp_path / name
        path.write_bytes(gguf(pairs, tensors) if data is None else data)
        return path
    return make


def run(*args, **options):
    return subprocess.run([PUNA, "inspect", *map(str, args)], capture_output=True, timeout=60,
                          **options)


def text(*args):
    done = run(*args)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def document(*args):
    return json.loads(text("--json", *args), object_pairs_hook=no_duplicates)


def no_duplicates(pairs):
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def failure(*args):
    """Exit code and the one line on stderr."""
    done = run(*args)
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"puna inspect: ")
    return done.returncode, done.stderr.decode()


def test_json_has_file_metadata_tensors_types_and_memory(model):
    path = model(LLAMA, TENSORS)
    d = document(path)
    assert (d["file"], d["version"], d["splits"]) == (str(path), 3, 1)
    assert d["bytes"] == path.stat().st_size
    assert d["metadata"] == {name: value for name, _, value in LLAMA}
    embedding, norm = d["tensors"]
    assert (embedding["name"], embedding["type"], embedding["dims"]) == \
        ("token_embd.weight", "Q8_0", [256, 10])
    assert (embedding["bytes"], norm["bytes"]) == (10 * 8 * 34, 1024)
    assert norm["offset"] - embedding["offset"] == 2720 and embedding["offset"] % 32 == 0
    assert d["types"] == {"F32": {"tensors": 1, "items": 256, "bytes": 1024},
                          "Q8_0": {"tensors": 1, "items": 2560, "bytes": 2720}}
    assert d["tokenizer"] is None


# 4096 tokens, 2 layers, 2 KV heads, key and value of 256 / 4, 2 bytes; pages of 64 tokens
@pytest.mark.parametrize("extra, args, kv_bytes", [
    ([], [], 4096 * 2 * 2 * ((64 + 64) * 2 + 8)),
    ([], ["--cache-type", "q16"], 4096 * 2 * 2 * ((64 + 64) * 2 + 8)),
    ([], ["--cache-type", "q8_0"], 4096 * 2 * 2 * (64 + 64 + 8)),  # two f32 scales a head
    ([], ["--cache-type", "f16"], 4096 * 2 * 2 * (64 + 64) * 2),
    ([], ["--ctx", "100"], 128 * 2 * 2 * ((64 + 64) * 2 + 8)),
    ([], ["-c", "4032"], 4032 * 2 * 2 * ((64 + 64) * 2 + 8)),
    ([("llama.attention.key_length", U32, 96), ("llama.attention.value_length", U16, 32)],
     ["--ctx=1"], 64 * 2 * 2 * ((96 + 32) * 2 + 8)),
])
def test_memory_of_a_context(model, extra, args, kv_bytes):
    memory = document(model(LLAMA + extra, TENSORS), *args)["memory"]
    assert memory["kv_bytes"] == kv_bytes
    assert memory["kv_type"] == (args[1] if "--cache-type" in args else "q16")
    assert memory["weights_bytes"] == 2720 + 1024
    assert memory["tied_embedding_bytes"] == 2720  # packed as the output, and in the file's pages
    assert memory["total_bytes"] == kv_bytes + 2720 + 1024 + 2720


def test_an_output_of_its_own_leaves_one_embedding(model):
    path = model(LLAMA, TENSORS + [("output.weight", "Q8_0", [256, 10])])
    memory = document("--ctx=1", path)["memory"]
    assert memory["tied_embedding_bytes"] == 0
    assert memory["total_bytes"] == memory["kv_bytes"] + 2720 + 1024 + 2720
    assert "  embedding " not in text(path) and "  embedding " in text(model(LLAMA, TENSORS))


def test_default_context_is_the_models_at_most_8192(model):
    pairs = [p for p in LLAMA if p[0] != "llama.context_length"]
    assert document(model(LLAMA, TENSORS))["memory"]["ctx"] == 4096
    long = pairs + [("llama.context_length", U32, 131072)]
    assert document(model(long, TENSORS))["memory"]["ctx"] == 8192


def test_a_context_that_the_model_was_not_made_for_is_refused(model):
    path = model(LLAMA, TENSORS)
    for form in ([], ["--json"]):
        code, line = failure("--ctx", "4097", *form, path)
        assert code == 2 and "a context of 4097 tokens: the model was made for 4096" in line
    path = model([p for p in LLAMA if p[0] != "llama.context_length"], TENSORS)
    assert document("--ctx", "4097", path)["memory"]["ctx"] == 4097


def test_heads_may_differ_between_layers(model):
    pairs = [p for p in LLAMA if "head_count" not in p[0]]
    pairs += [("llama.attention.head_count", I32, [4, 8]),
              ("llama.attention.head_count_kv", I32, [1, 3]),
              ("llama.attention.key_length", U32, 64), ("llama.attention.value_length", U32, 64)]
    assert document(model(pairs, TENSORS), "--ctx=1")["memory"]["kv_bytes"] == 64 * (1 + 3) * (128 * 2 + 8)


@pytest.mark.parametrize("drop, extra, why", [
    ("general.architecture", [], "general.architecture"),
    ("llama.block_count", [], "llama.block_count"),
    ("llama.attention.head_count", [], "size of attention heads"),
    ("llama.block_count", [("llama.block_count", U32, 2**32 - 1)], None),
    ("llama.attention.head_count_kv", [("llama.attention.head_count_kv", I32, [1, 2, 3])],
     "3 items for 2 layers"),
    ("llama.attention.head_count_kv", [("llama.attention.head_count_kv", I32, [1, -2])], "-2"),
    ("llama.attention.head_count_kv", [("llama.attention.head_count_kv", STRING, "two")],
     "string"),
    ("llama.attention.head_count", [("llama.attention.head_count", U32, 2**32 - 1)],
     "size of attention heads"),
    ("general.architecture", [("general.architecture", STRING, "x" * 1000)], "1000 bytes"),
])
def test_memory_that_cannot_be_known_says_why(model, drop, extra, why):
    path = model([p for p in LLAMA if p[0] != drop] + extra, TENSORS)
    memory = document(path)["memory"]
    assert why is None or why in memory["error"]
    assert "Memory" in text(path)


def test_absurd_numbers_do_not_wrap(model):
    keep = [p for p in LLAMA if p[0] in ("general.architecture", "llama.embedding_length")]
    pairs = keep + [(f"llama.{k}", U32, 2**32 - 1) for k in (
        "block_count", "attention.head_count", "attention.key_length", "attention.value_length")]
    assert "more than 2^64 bytes" in document(model(pairs, TENSORS))["memory"]["error"]


def test_values_of_every_type_keep_their_value(model):
    values = {"u8": (U8, 255), "u64": (U64, 2**64 - 1), "i64": (I64, -2**63), "f32": (F32, 0.5),
              "f64": (F64, 1e300), "bool": (BOOL, True), "string": (STRING, "Puna \u2603 \"q\"")}
    path = model([(k, *v) for k, v in values.items()])
    assert document(path)["metadata"] == {k: v for k, (_, v) in values.items()}
    shown = text(path)
    for part in ["18446744073709551615", "-9223372036854775808", "0.5", "1e+300", "true",
                 '"Puna \u2603 \\"q\\""']:
        assert part in shown


def test_not_a_number_is_a_string_in_json(model):
    path = model([("n", F32, float("nan")), ("p", F64, float("inf")), ("m", F32, float("-inf"))])
    assert document(path)["metadata"] == {"n": "NaN", "p": "Infinity", "m": "-Infinity"}


def test_arrays_are_counted_or_printed_in_full(model):
    items = [f"token-{i}" for i in range(100)]
    path = model([("s", STRING, items), ("i", I64, [-1, 2]), ("e", F32, [])])
    assert document(path)["metadata"]["s"] == {"array_type": "string", "count": 100}
    assert document("--arrays", path)["metadata"] == {"s": items, "i": [-1, 2], "e": []}
    assert "token-5" in text(path) and "token-6" not in text(path)
    assert "token-99" in text("--arrays", path)


HOSTILE = b"a\x1b]0;owned\x07\x9b\xff\x00\r\nb \xc2\x9b31m \xe2\x80\xae \x7f"


def test_no_control_character_reaches_the_terminal(model):
    path = model([("general.architecture", STRING, HOSTILE), ("general.name", STRING, HOSTILE),
                  ("list", STRING, [HOSTILE]), ("tokenizer.ggml.model", STRING, HOSTILE),
                  ("tokenizer.chat_template", STRING, HOSTILE)], TENSORS)
    for args in [], ["--arrays"], ["--json"], ["--json", "--arrays"]:
        done = run(*args, path)
        assert done.returncode == 0
        shown = done.stdout.decode()  # valid UTF-8
        bad = [c for c in shown if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
        assert bad == [] and "\u202e" not in shown
    assert r"a\x1b]0;owned\x07\x9b\xff\x00\r\nb \u{9b}31m \u{202e} \x7f" in text(path)


def test_bytes_that_are_no_utf8_become_replacement_characters_in_json(model):
    path = model([("k", STRING, b"a\xff\xe2\x82b")])
    assert document(path)["metadata"]["k"] == "a\ufffd\ufffdb"  # one for each ill-formed part


def test_json_escapes_what_the_terminal_must_not_get_and_shows_the_rest(model):
    path = model([("k", STRING, "\u00e9\u6d77 \U0001f999 \U000e0041 \u009b \u202e \x7f \r\"")])
    shown = text("--json", path)
    assert '"\u00e9\u6d77 \U0001f999 ' + r'\udb40\udc41 \u009b \u202e \u007f \r\""' in shown
    assert document(path)["metadata"]["k"].endswith('\U000e0041 \x9b \u202e \x7f \r"')


def test_other_architectures_print_what_they_can(model):
    path = model([("general.architecture", STRING, "mamba"), ("mamba.block_count", U32, 24)],
                 [("blk.0.ssm.weight", "F16", [2, 3, 4])])
    d = document(path)
    assert d["tensors"][0]["dims"] == [2, 3, 4] and "error" in d["memory"]
    shown = text(path)
    assert "2 x 3 x 4" in shown and "blk.0.ssm.weight" in shown


def test_a_vocabulary_alone_opens(model):
    tokens = [chr(c) for c in range(33, 127)] + ["ab"]
    path = model([("general.architecture", STRING, "llama"),
                  ("tokenizer.ggml.model", STRING, "gpt2"),
                  ("tokenizer.ggml.pre", STRING, "llama-bpe"),
                  ("tokenizer.ggml.tokens", STRING, tokens),
                  ("tokenizer.ggml.token_type", I32, [3] + [1] * (len(tokens) - 1)),
                  ("tokenizer.ggml.merges", STRING, ["a b"]),
                  ("tokenizer.ggml.bos_token_id", U32, 0)])
    d = document(path)
    assert d["tensors"] == [] and d["types"] == {} and "no tensors" in d["memory"]["error"]
    assert d["tokenizer"]["n_tokens"] == 95 and d["tokenizer"]["model"] == "bpe"
    assert d["tokenizer"]["pre"] == "llama3"
    assert d["tokenizer"]["bos"] == {"id": 0, "text": "!"} and d["tokenizer"]["eom"] is None
    shown = text(path)
    assert "Tensors: none" in shown and "95 tokens" in shown


def test_a_tokenizer_that_cannot_be_used_is_reported(model):
    path = model([("tokenizer.ggml.model", STRING, "rwkv")])
    assert "rwkv" in document(path)["tokenizer"]["error"]
    assert "cannot be used" in text(path)


def test_empty_file_has_every_section(model):
    d = document(model())
    assert list(d) == ["file", "version", "splits", "bytes", "metadata", "tensors", "types",
                       "tokenizer", "chat_template", "memory"]
    assert d["metadata"] == {}
    for section in ["Metadata", "Tensors", "Tokenizer", "Chat template", "Memory"]:
        assert section in text(model())


def test_chat_template_is_shown_by_lines(model):
    template = "".join(f"line {i}\n" for i in range(50))
    shown = text(model([("tokenizer.chat_template", STRING, template)]))
    assert "\n  line 0\n  line 1\n" in shown and "bytes more" in shown and "line 40" not in shown


# A model of a few letters, whose chats a template writes.
LETTERS = [chr(c) for c in range(33, 127)] + ["ab"]
VOCABULARY = [("general.architecture", STRING, "llama"), ("tokenizer.ggml.model", STRING, "gpt2"),
              ("tokenizer.ggml.pre", STRING, "llama-bpe"), ("tokenizer.ggml.tokens", STRING, LETTERS),
              ("tokenizer.ggml.token_type", I32, [3] + [1] * (len(LETTERS) - 1)),
              ("tokenizer.ggml.merges", STRING, ["a b"]), ("tokenizer.ggml.bos_token_id", U32, 0)]
ANY_ROLE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content or m.tool_calls[0].function.arguments.a }}\n{% endfor %}"
TURNS = """{{ bos_token }}{% for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif -%}
[{{ 'INST' if m.role == 'user' else '/INST' }}] {{ m.content }}{% endfor %}"""
# the system's text is the first user's, as Gemma's models have it, which are called so, too
NO_SYSTEM = """{% for m in messages %}{% if m.role not in ('user', 'assistant') %}{{ raise_exception('no such role') }}{% endif -%}
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content }}<end_of_turn>
{% endfor %}"""
TOOLS = """{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages -%}
<|start_header_id|>{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header_id|>

{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{{ m.content or '' }}<|eot_id|>{% endfor %}"""
LAST_ONLY = """{% for m in messages %}{% if m.role == 'assistant' or loop.last or loop.nextitem.role == 'assistant' -%}
{{ m.role | upper }}: {{ m.content }}
{% endif %}{% endfor %}"""
NO_ANSWERS = "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}</user>{% endif %}{% endfor %}"
PREAMBLE = "You are a system, a user: no, an assistant.\n\n" + "{% for m in messages %}Human: {{ m.content }}\n\n{% endfor %}"


@pytest.mark.parametrize("template, roles, take_turns, shown", [
    (ANY_ROLE, {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}, False, "system, user, assistant, tool"),
    (TURNS, {"user": None, "assistant": None}, True, "user, assistant"),
    (NO_SYSTEM, {"user": "user", "assistant": "model"}, False, "user, assistant as model"),
    (TOOLS, {"system": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}, False, "system, user, assistant, tool as ipython"),
    (LAST_ONLY, {"user": "user", "assistant": "assistant", "tool": "tool"}, True, "user, assistant, tool"),
    (NO_ANSWERS, {"user": "user"}, False, "user"),
    (PREAMBLE, {"system": "human", "user": "human", "assistant": "human", "tool": "human"}, False,
     "system as human, user as human, assistant as human, tool as human"),
], ids=["any", "turns", "no system", "tools", "last only", "no answers", "preamble"])
def test_the_roles_of_a_template_are_shown(model, template, roles, take_turns, shown):
    path = model([*VOCABULARY, ("tokenizer.chat_template", STRING, template)])
    seen = document(path)["chat_template"]
    assert (seen["roles"], seen["take_turns"]) == (roles, take_turns)
    assert f"\n  roles                   {shown}\n  user and assistant      " + (
        "must take turns\n" if take_turns else "in any order\n") in text(path)


def test_split_models_are_one(model):
    def keys(i):
        return [("split.no", U16, i), ("split.count", U16, 2), ("split.tensors.count", I32, 2)]
    first = model(LLAMA + keys(0), TENSORS[:1], name="m-00001-of-00002.gguf")
    second = model(keys(1), TENSORS[1:], name="m-00002-of-00002.gguf")
    d = document(first)
    assert d["splits"] == 2 and [t["split"] for t in d["tensors"]] == [0, 1]
    assert d["bytes"] == first.stat().st_size + second.stat().st_size
    assert failure(second) == (2, f"puna inspect: {second}: this is shard 2 of 2; open shard 1\n")
    second.unlink()
    code, line = failure(first)
    assert code == 3 and "m-00002-of-00002.gguf: cannot be opened: No such file" in line


def test_wrong_files_give_one_line_and_an_exit_code(model, tmp_path):
    nested = string("k") + b"\x09\0\0\0" + bytes([ARRAY, 0, 0, 0]) + bytes(8)
    cases = [
        (b"", 5, "empty"),
        (b"PK\3\4" + bytes(64), 5, "zip"),
        (b"GGUF" + bytes([1, 0, 0, 0]) + bytes(16), 6, "version 1"),
        (gguf(LLAMA, TENSORS)[:-32], 5, "cut off"),
        (b"GGUF\3\0\0\0" + bytes(8) + b"\1" + bytes(7) + nested, 6, "arrays of arrays"),
    ]
    for data, code, part in cases:
        path = model(data=data)
        got_code, line = failure(path)
        assert (got_code, part in line, str(path) in line) == (code, True, True)
    assert failure(tmp_path)[0] == 5
    assert failure(tmp_path / "absent.gguf")[0] == 3


def test_misuse_is_named(model):
    path = model()
    for args, part in [(["--nonsense", path], "--nonsense"), (["--ctx", "0", path], "--ctx"),
                       (["--ctx", "many", path], "many"), ([path, "--ctx"], "--ctx"),
                       ([path, "surplus"], "surplus")]:
        code, line = failure(*args)
        assert code == 2 and part in line


def test_help_describes_the_options():
    shown = text("--help")
    for part in ["Usage: puna inspect", "--json", "--arrays", "--ctx"]:
        assert part in shown


def test_a_full_disk_is_an_error(model):
    with open("/dev/full", "w") as full:
        done = subprocess.run([PUNA, "inspect", str(model(LLAMA))], stdout=full,
                              stderr=subprocess.PIPE)
    assert done.returncode == 4 and b"standard output" in done.stderr
