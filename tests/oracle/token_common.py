"""What the tokenizer oracles share: vocabulary-only GGUF files, batches through `puna tokenize`,
code points in contexts, and mixed text of the languages that Llama 3 names."""
import gettext
import importlib.util
import io
import json
import os
import pathlib
import random
import subprocess
import sysconfig
import unicodedata

from program import PUNA

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BATCH_BYTES = 32 << 20

# One code point c in places where it decides how a text is cut. {0} is the code point.
CONTEXTS = [
    "{0}", "a{0}b", " {0}", "{0}{0}", "1{0}2", "{0}'s", "'{0}", "'{0}e l'{0}L", "  {0}  {0}",
    "\n{0} \n", "{0}\n", ".{0}.", "a {0}1", "123{0}4 5", "\t{0}a",
]


def write_vocab(path, model, tokens, types, pre=None, merges=None, scores=None, **ids):
    """A GGUF file with a vocabulary and nothing else. ids: bos_token_id=..., add_bos_token=..."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    for key, value in ids.items():
        add = writer.add_bool if isinstance(value, bool) else writer.add_uint32
        add(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def train_spm(sentences, vocab_size, **options):
    """A SentencePiece BPE model with Llama 2's settings: no normalisation, every space kept, digits
    apart, bytes for what is not in the vocabulary."""
    import sentencepiece

    settings = dict(model_type="bpe", vocab_size=vocab_size, byte_fallback=True, split_digits=True,
                    allow_whitespace_only_pieces=True, normalization_rule_name="identity",
                    remove_extra_whitespaces=False, add_dummy_prefix=True, num_threads=1,
                    character_coverage=0.9995, minloglevel=2) | options
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=model,
                                             **settings)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_spm(path, sp, **ids):
    """A GGUF file of a SentencePiece model, with the token types that the GGUF format defines."""
    def kind(i):
        return (2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else
                5 if sp.is_unused(i) else 1)

    all_ids = range(sp.get_piece_size())
    write_vocab(path, "llama", [sp.id_to_piece(i) for i in all_ids], [kind(i) for i in all_ids],
                scores=[sp.get_score(i) for i in all_ids], bos_token_id=sp.bos_id(),
                eos_token_id=sp.eos_id(), unknown_token_id=sp.unk_id(), **ids)


def puna_batch(puna, model, texts, *options):
    """Yields what `puna tokenize --json` prints for each of texts (str or bytes without NUL)."""
    part, size = [], 0
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode()
        if part and size + len(data) + 1 > BATCH_BYTES:
            yield from _run(puna, model, part, options)
            part, size = [], 0
        part.append(data)
        size += len(data) + 1
    if part:
        yield from _run(puna, model, part, options)


def _run(puna, model, part, options):
    command = [puna, "tokenize", "--json", "--batch", *options, str(model)]
    out = subprocess.run(command, input=b"\0".join(part) + b"\0", stdout=subprocess.PIPE, check=True,
                         stderr=subprocess.DEVNULL).stdout
    lines = out.split(b"\n")
    assert len(lines) == len(part) + 1, (len(lines), len(part))
    for line in lines[:-1]:
        yield json.loads(line)


def puna_one(puna, model, text, *options):
    """The same for one text, which may hold NUL."""
    data = text if isinstance(text, bytes) else text.encode()
    command = [puna, "tokenize", "--json", *options, str(model)]
    return json.loads(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True,
                                     stderr=subprocess.DEVNULL).stdout)


def context_texts(step=1, per_text=64):
    """Every step-th code point but NUL in every context, several to a text; alone: one a text."""
    points = CODE_POINTS[1::step]
    yield from map(chr, points)
    for context in CONTEXTS:
        for i in range(0, len(points), per_text):
            yield "\n".join(context.format(chr(c)) for c in points[i:i + per_text])


def _translations(language):
    for path in sorted(pathlib.Path("/usr/share/locale").glob(f"{language}*/LC_MESSAGES/*.mo")):
        try:
            with path.open("rb") as f:
                catalog = gettext.GNUTranslations(f)._catalog
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        yield from (v for v in catalog.values() if isinstance(v, str) and v)


def _salad(language, messages, rng):
    """Sentences of words seen in the messages and of words made of the script's letters."""
    first, last = {"th": (0x0E01, 0x0E5B), "hi": (0x0900, 0x097F)}.get(language, (0x61, 0x17F))
    letters = [chr(c) for c in range(first, last + 1) if unicodedata.category(chr(c))[0] in "LMN"]
    words = sorted({w for m in messages for w in m.split()}) or ["?"]
    while True:
        sentence = [rng.choice(words) if rng.random() < 0.7 else
                    "".join(rng.choices(letters, k=rng.randint(1, 12)))
                    for _ in range(rng.randint(3, 25))]
        yield rng.choice([" ", " ", " ", "  ", "\n"]).join(sentence) + rng.choice([".", "!", "?\n", "…"])


def _take(messages, n_bytes):
    parts, size = [], 0
    for message in messages:
        parts.append(message)
        size += len(message.encode()) + 1
        if size >= n_bytes:
            break
    return parts


def language_texts(share, rng):
    """Messages, words and code: about `share` bytes of each of eight languages and of Python."""
    parts = []
    for language in ["en", "de", "fr", "it", "pt", "hi", "es", "th"]:
        messages = list(_translations(language))
        rng.shuffle(messages)
        taken = _take(messages, share)
        missing = share - sum(len(m.encode()) + 1 for m in taken)
        parts += taken + (_take(_salad(language, messages, rng), missing) if missing > 0 else [])
    sources = sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    rng.shuffle(sources)
    return parts + _take((p.read_text(encoding="utf-8", errors="replace") for p in sources), share)


def english_texts(n_bytes, seed=1):
    """Documents of some kilobytes from the copyright and readme files of installed packages."""
    rng = random.Random(seed)
    files = sorted(pathlib.Path("/usr/share/doc").glob("*/*"))
    rng.shuffle(files)
    whole = (f.read_text(encoding="utf-8", errors="replace") for f in files
             if f.is_file() and f.name in ("copyright", "README", "NEWS", "README.Debian"))
    text = "\n".join(_take(whole, n_bytes)).replace("\0", "\ufffd")
    return [text[i:i + 4000] for i in range(0, len(text), 4000)]


def mixed_texts(n_bytes, seed=1):
    """About n_bytes of text as a list of documents of some kilobytes: languages, code, random bytes
    read as UTF-8 with replacement, random code points, white space. The same on the same machine."""
    rng = random.Random(seed)
    share = n_bytes // 11
    parts = language_texts(share, rng)
    parts += [rng.randbytes(1000).decode(errors="replace") for _ in range(share // 2000)]
    parts += ["".join(map(chr, rng.choices(CODE_POINTS, k=200))) for _ in range(share // 800)]
    parts += ["".join(rng.choices(" \t\n\r\u00a0\u3000'a1.", k=400)) for _ in range(share // 400)]
    rng.shuffle(parts)
    texts, text = [], ""
    for part in parts:
        text += part + rng.choice(["", " ", "\n", "\n\n", "\r\n"])
        if len(text) > 4000:
            texts.append(text.replace("\0", "\ufffd"))
            text = ""
    return texts + [text.replace("\0", "\ufffd")]


def find_llama3():
    """tokenizer.model of the package llama-models, which is found without being imported."""
    spec = importlib.util.find_spec("llama_models")
    path = spec and pathlib.Path(spec.submodule_search_locations[0]) / "llama3/tokenizer.model"
    return path if path and path.exists() else None


def find_default_model():
    """$PUNA_TEST_MODEL, else the file in the model folder; None if it is not there."""
    data = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local/share"
    folder = os.environ.get("PUNA_MODELS") or f"{data}/puna/models"
    path = os.environ.get("PUNA_TEST_MODEL") or f"{folder}/SmolLM2-135M-Instruct.Q4_1.gguf"
    return pathlib.Path(path) if os.path.exists(path) else None


def arguments(description, **find):
    """Options of an oracle script; find: for each --NAME what looks for its default."""
    import argparse

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--puna", default=PUNA)
    parser.add_argument("--step", type=int, default=1, help="take every N-th code point")
    parser.add_argument("--bytes", type=int, default=10_000_000, help="bytes of mixed text")
    for name, function in find.items():
        parser.add_argument(f"--{name}", type=pathlib.Path, default=function())
    return parser.parse_args()
