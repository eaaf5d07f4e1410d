#!/usr/bin/env python3
"""The engines beside which structured_peers.py puts Puna, each in a process of its own that may hang or
fill its memory without harm: `structured_engines.py ENGINE` writes a line of JSON about itself, and for
each line on standard input one as bench/schema_masks.c does (without "tokens", which it is given).

  llguidance, xgrammar    their Python packages. The first line of input is the vocabulary.
  llama.cpp LIB PORT      a llama-server's grammar for the schema, matched by the library LIB, libllama.so"""
import ctypes
import importlib.metadata
import json
import re
import resource
import statistics
import sys
import time
import urllib.error
import urllib.request

EXTRA_BYTES = 4 << 30  # beside what an engine has when it begins
# How Llama 3 divides a text before its tokens are found: bytes and merges are those of the vocabulary.
LLAMA_3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
           r"\s*[\r\n]+|\s+(?!\S)|\s+")
CACHE_BYTES = 1 << 30  # what xgrammar may keep of schemas for others
SEPARATORS = (", ", ": ")  # as Puna writes, and json.dumps


class Llguidance:
    OPTIONS = {"whitespace_flexible": False, "item_separator": SEPARATORS[0], "key_separator": SEPARATORS[1], "lenient": False}

    def __init__(self, pieces, ends):
        import llguidance
        import llguidance.numpy
        self.fill_mask = llguidance.numpy.fill_next_token_bitmask
        self.new = llguidance.LLMatcher
        self.bits = llguidance.numpy.allocate_token_bitmask(1, len(pieces))
        special = {"<|%d|>" % i: i for i, piece in enumerate(pieces) if not piece}
        self.tokenizer = llguidance.LLTokenizer.from_tiktoken(
            encoder={piece: i for i, piece in enumerate(pieces) if piece}, special_tokens=special, pattern=LLAMA_3, eos_token=ends)

    def compile(self, schema):
        return self.whole(self.new(self.tokenizer, self.new.grammar_from_json_schema(schema, overrides=self.OPTIONS), log_level=0))

    @staticmethod
    def whole(matcher):
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled):
        self.matcher = compiled.deep_copy()

    def fill(self):
        self.fill_mask(self.matcher, self.bits, 0)

    def take(self, token):
        return self.matcher.try_consume_tokens([token]) == 1

    def nothing(self):
        self.matcher.is_error()

    def check(self):
        self.whole(self.matcher)


class Xgrammar:
    def __init__(self, pieces, ends):
        import xgrammar
        info = xgrammar.TokenizerInfo(pieces, xgrammar.VocabType.RAW, vocab_size=len(pieces), stop_token_ids=ends)
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_limit_bytes=CACHE_BYTES)
        self.new = xgrammar.GrammarMatcher
        self.mask = xgrammar.allocate_token_bitmask(1, len(pieces))
        self.bits = self.mask.numpy()

    def compile(self, schema):
        compiled = self.compiler.compile_json_schema(schema, any_whitespace=False, separators=SEPARATORS, strict_mode=False)
        self.new(compiled)
        return compiled

    def start(self, compiled):
        self.matcher = self.new(compiled)

    def fill(self):
        self.matcher.fill_next_token_bitmask(self.mask)

    def take(self, token):
        return self.matcher.accept_token(token)

    def nothing(self):
        self.matcher.is_terminated()

    def check(self):
        pass


class Masks:
    """What an engine that gives masks says of a schema."""

    def __init__(self, kind):
        vocabulary = json.loads(sys.stdin.readline())
        self.ends = vocabulary["ends"]
        self.engine = kind([bytes.fromhex(piece) for piece in vocabulary["pieces"]], self.ends)
        self.about = {"version": importlib.metadata.version(kind.__name__.lower()), "overhead": self.overhead()}

    def overhead(self):
        """Nanoseconds that two calls take which do next to nothing."""
        self.engine.start(self.engine.compile("{}"))
        times = []
        for _ in range(10001):
            start = time.perf_counter_ns()
            self.engine.nothing()
            self.engine.nothing()
            times.append(time.perf_counter_ns() - start)
        return statistics.median(times)

    def take_text(self, tokens, times):
        """What counts is whether the engine takes a token: a mask may leave out other ways to write a text."""
        for token in tokens:
            start = time.perf_counter_ns()
            self.engine.fill()
            taken = self.engine.take(token)
            times.append(time.perf_counter_ns() - start)
            if not taken:
                self.engine.check()
                return False
        start = time.perf_counter_ns()
        self.engine.fill()
        times.append(time.perf_counter_ns() - start)
        self.engine.check()
        return any(self.engine.bits[0, end >> 5] >> (end & 31) & 1 for end in self.ends)

    def answer(self, request):
        result = {"error": None, "accepted": [], "cold": [], "warm": []}
        start = time.perf_counter_ns()
        try:
            compiled = self.engine.compile(request["schema"])
        except (ValueError, RuntimeError) as e:
            result["error"] = str(e) or repr(e)
        result["compile"] = time.perf_counter_ns() - start
        for times in ("cold", "warm") if result["error"] is None else ():
            result["accepted"] = []
            for tokens in request["tokens"]:
                has = False
                try:
                    self.engine.start(compiled)
                    has = self.take_text(tokens, result[times])
                except (ValueError, RuntimeError) as e:
                    result["failed"] = str(e) or repr(e)
                result["accepted"].append(has)
        return result


class LlamaCpp:
    """The functions are those that its own tests call, by their names in the library."""

    def __init__(self, library, port):
        names = {"init": "_Z23llama_grammar_init_implPK11llama_vocabPKcS3_bPS3_mPKim", "free": "_Z23llama_grammar_free_implP13llama_grammar",
                 "accept": "_Z20llama_grammar_acceptP13llama_grammarj", "stacks": "_Z24llama_grammar_get_stacksP13llama_grammar"}
        loaded = ctypes.CDLL(library)
        self.call = {what: loaded[name] for what, name in names.items()}
        self.call["init"].restype = self.call["stacks"].restype = ctypes.c_void_p
        self.url = f"http://127.0.0.1:{port}/completion"
        self.about = {}

    def grammar(self, schema):
        body = b'{"prompt": "a", "n_predict": 0, "json_schema": %s}' % schema.encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, body)) as answer:
                return json.load(answer)["generation_settings"]["grammar"]
        except urllib.error.HTTPError as e:
            raise ValueError(e.read().decode(errors="replace")) from None

    def stacks(self, grammar):
        """Ways in which the text may go on: for each whether it may end. They are vectors of vectors."""
        words = lambda address, n: (ctypes.c_size_t * n).from_address(address)
        first, last = words(self.call["stacks"](grammar), 2)
        return [begin == end for begin, end in (words(at, 2) for at in range(first, last, 24))]

    def take_text(self, text, grammar):
        made = self.call["init"](None, grammar.encode(), b"root", False, None, ctypes.c_size_t(0), None, ctypes.c_size_t(0))
        if not made:
            raise ValueError("the library refuses the grammar")
        made = ctypes.c_void_p(made)
        stacks = [False]
        for character in text:
            self.call["accept"](made, ord(character))
            stacks = self.stacks(made)
            if not stacks:
                break
        self.call["free"](made)
        return any(stacks)

    def answer(self, request):
        result = {"error": None, "accepted": []}
        try:
            grammar = self.grammar(request["schema"])
            result["accepted"] = [any(self.take_text(text, grammar) for text in ways) for ways in request["ways"]]
        except ValueError as e:
            result["error"] = str(e)
        return result


def main():
    name, *rest = sys.argv[1:]
    engine = LlamaCpp(*rest) if name == "llama.cpp" else Masks({"llguidance": Llguidance, "xgrammar": Xgrammar}[name])
    with open("/proc/self/status", encoding="ascii") as f:
        now = int(re.search(r"VmSize:\s*(\d+)", f.read()).group(1)) << 10
    resource.setrlimit(resource.RLIMIT_AS, (now + EXTRA_BYTES, now + EXTRA_BYTES))
    print(json.dumps(engine.about), flush=True)
    for line in sys.stdin:
        print(json.dumps(engine.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
