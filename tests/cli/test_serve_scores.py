"""Log-probabilities of prompts: completions with echo and logprobs, as evaluation harnesses ask for them.
They are those of `puna score`, to the last bit, whatever else the server does."""
import concurrent.futures
import json
import subprocess

import openai
import pytest

from gguf_file import BOOL, U32, llama
from puna_server import PUNA, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
TEXT = ("The puna is a high grassland of the central Andes, where the llama lives. \U0001f999 "
        "It is cold \u4e2d\u6587 there, and the air is thin. ") * 5
TOP = 5


@pytest.fixture(scope="module")
def server():
    with serving("-c", 1024) as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    return client_of(server)


def client_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def ids(server):
    ids = server.post("/tokenize", {"content": TEXT})["tokens"]
    assert len(ids) > 150  # more than the rows of two steps
    return ids


@pytest.fixture(scope="module")
def scored(ids):
    """What `puna score` says of the tokens."""
    done = subprocess.run([PUNA, "score", "--ids", "--json", "--top", str(TOP)], capture_output=True, check=True,
                          input=" ".join(map(str, ids)).encode())
    return json.loads(done.stdout)["tokens"]


def told(server, prompt, **options):
    """logprobs of each choice."""
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": TOP}
    answer = server.post("/v1/completions", body | options)
    return [c["logprobs"] for c in answer["choices"]]


@pytest.fixture(scope="module")
def alone(server, ids):
    (one,) = told(server, ids)
    return one


# --- what is told

def test_scores_are_those_of_puna_score_to_the_last_bit(alone, scored):
    assert alone["token_logprobs"] == [t["logprob"] for t in scored] and scored[0]["logprob"] is None
    assert alone["top_logprobs"][0] is None and alone["token_logprobs"][0] is None
    for top, token in list(zip(alone["top_logprobs"], scored))[1:]:
        likeliest = [t["logprob"] for t in token["top"]]
        assert list(top.values())[:TOP] == likeliest
        assert set(top.values()) == {*likeliest, token["logprob"]}  # the token itself is always there
    pieces = [t["piece"] for t in scored]
    assert [a for a in alone["tokens"] if not a.startswith("bytes:")] == [p for p in pieces if "\ufffd" not in p]
    assert any(a.startswith("bytes:") for a in alone["tokens"])  # halves of code points


def test_the_digits_are_those_that_score_prints(server, ids, scored):
    """Read back they are one number; the server's have no more of them than that takes."""
    body = {"model": MODEL, "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0}
    document = server.post("/v1/completions", body)
    (choice,) = document["choices"]
    assert [repr(x) for x in choice["logprobs"]["token_logprobs"][1:]] == [repr(t["logprob"]) for t in scored[1:]]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "length")
    assert document["usage"]["completion_tokens"] == 0 and document["usage"]["prompt_tokens"] == len(ids)


def test_the_official_client_reads_them(client, ids, alone):
    (choice,) = client.completions.create(model=MODEL, prompt=TEXT, max_tokens=0, echo=True, logprobs=TOP).choices
    assert choice.logprobs.token_logprobs == alone["token_logprobs"]
    assert choice.logprobs.tokens == alone["tokens"] and choice.logprobs.top_logprobs == alone["top_logprobs"]
    assert (choice.logprobs.text_offset, choice.text) == (alone["text_offset"], TEXT)


def test_offsets_are_places_in_the_text(alone):
    before = b""
    for token, offset in zip(alone["tokens"], alone["text_offset"]):
        assert offset == sum(byte & 0xC0 != 0x80 for byte in before)  # a code point counts where it begins
        is_text = not token.startswith("bytes:")
        before += token.encode() if is_text else bytes.fromhex(token[6:].replace("\\x", ""))
    assert before == TEXT.encode()


def test_an_answer_goes_on_where_the_prompt_ends(server, client, ids, alone):
    options = {"model": MODEL, "max_tokens": 5, "temperature": 0, "logprobs": TOP}
    (plain,) = client.completions.create(prompt=ids, **options).choices
    (both,) = client.completions.create(prompt=ids, echo=True, **options).choices
    assert both.text == TEXT + plain.text
    assert both.logprobs.token_logprobs == alone["token_logprobs"] + plain.logprobs.token_logprobs
    assert both.logprobs.top_logprobs == alone["top_logprobs"] + plain.logprobs.top_logprobs
    assert both.logprobs.text_offset == alone["text_offset"] + [len(TEXT) + o for o in plain.logprobs.text_offset]


def test_harnesses_get_one_entry_a_token_and_one_more(client, server, ids):
    """As lm-eval's local-completions asks and reads: lists of ids, one token behind, the last entry dropped."""
    requests = [(ids[:10], ids[10:14]), (ids[:60], ids[60:61]), (ids[:2], ids[2:90])]
    answer = client.completions.create(model=MODEL, prompt=[c + e for c, e in requests], max_tokens=1, logprobs=1,
                                       echo=True, temperature=0, seed=1234)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    for choice, (context, end) in zip(answer.choices, requests):
        logprobs = choice.logprobs.token_logprobs[len(context):-1]
        tops = choice.logprobs.top_logprobs[len(context):-1]
        assert len(logprobs) == len(tops) == len(end)
        done = subprocess.run([PUNA, "score", "--ids", "--json", "--top", "1"], capture_output=True, check=True,
                              input=" ".join(map(str, context + end)).encode())
        wanted = json.loads(done.stdout)["tokens"][len(context):]
        assert logprobs == [t["logprob"] for t in wanted]
        greedy = [lp == max(top.values()) for lp, top in zip(logprobs, tops)]
        assert greedy == [t["top"][0]["id"] == t["id"] for t in wanted]


def test_the_token_that_ends_a_completion_is_told(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama(ggml__eos_token_id=(U32, 0)))
    with serving(path) as s:
        for echo, n in ((True, 3), (False, 1)):
            answer = s.post("/v1/completions", {"model": "m", "prompt": [64, 65], "max_tokens": 1, "temperature": 0,
                                                "echo": echo, "logprobs": 1})
            (choice,) = answer["choices"]
            assert (choice["text"], choice["finish_reason"]) == ("ab" * echo, "stop")
            assert len(choice["logprobs"]["token_logprobs"]) == n and choice["logprobs"]["tokens"][-1] == "!"


def test_a_token_that_the_text_was_given_has_no_place_in_it(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(llama(ggml__add_bos_token=(BOOL, True), ggml__bos_token_id=(U32, 4)))
    with serving(path) as s:
        def ask(prompt):
            (choice,) = s.post("/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 0, "echo": True,
                                                   "logprobs": 0})["choices"]
            return choice["text"], choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
        assert ask("ab") == ("ab", ["%", "a", "b"], [0, 0, 1])
        assert ask([64, 65]) == ("ab", ["a", "b"], [0, 1])
        assert ask([64]) == ("a", ["a"], [0])


def test_several_prompts_and_choices(server, client, ids, alone):
    options = {"model": MODEL, "temperature": 1, "seed": 3, "max_tokens": 3, "logprobs": 2}
    prompts = [ids, ids[:70], ids[:1]]
    plain = client.completions.create(prompt=prompts, n=2, **options)
    both = client.completions.create(prompt=prompts, n=2, echo=True, **options)
    for i, (p, b) in enumerate(zip(plain.choices, both.choices)):
        n = len(prompts[i // 2])
        assert b.logprobs.token_logprobs == alone["token_logprobs"][:n] + p.logprobs.token_logprobs
        assert b.text.endswith(p.text) and b.index == i
    best = client.completions.create(prompt=prompts, best_of=4, n=1, echo=True, **options)
    assert [c.logprobs.token_logprobs[:len(p)] for c, p in zip(best.choices, prompts)] == [
        alone["token_logprobs"][:len(p)] for p in prompts]
    none = client.completions.create(prompt=prompts, n=2, echo=True, **options | {"max_tokens": 0})
    assert [c.logprobs.token_logprobs for c in none.choices] == [
        alone["token_logprobs"][:len(p)] for p in prompts for _ in range(2)]


@pytest.mark.parametrize("max_tokens", [0, 6])
def test_a_stream_is_the_whole_answer(client, ids, max_tokens):
    options = {"model": MODEL, "prompt": [ids, ids[:9]], "n": 2, "temperature": 1, "seed": 9, "echo": True,
               "max_tokens": max_tokens, "logprobs": 2}
    whole = client.completions.create(**options)
    gathered = {c.index: ["", None, [], [], [], []] for c in whole.choices}
    for chunk in client.completions.create(stream=True, **options):
        for c in chunk.choices:
            g = gathered[c.index]
            g[0], g[1] = g[0] + c.text, c.finish_reason
            for k, name in enumerate(("tokens", "token_logprobs", "top_logprobs", "text_offset")):
                g[2 + k] += getattr(c.logprobs, name) if c.logprobs else []
    assert gathered == {c.index: [c.text, c.finish_reason, c.logprobs.tokens, c.logprobs.token_logprobs,
                                  c.logprobs.top_logprobs, c.logprobs.text_offset] for c in whole.choices}


# --- promises

def test_the_cache_gives_no_scores_and_the_answer_says_so(server, ids, alone):
    def usage(**options):
        body = {"model": MODEL, "prompt": ids, "max_tokens": 1, "temperature": 0, "cache_salt": "scores"} | options
        return server.post("/v1/completions", body)["usage"]
    for _ in range(2):
        u = usage(echo=True, logprobs=0)
        assert u["prompt_tokens_details"]["cached_tokens"] == 0
        assert u["cache"] == {"hit_tokens": 0, "miss_reason": "prompt_logprobs"}
    assert usage()["prompt_tokens_details"]["cached_tokens"] == len(ids) - 1  # others find what scoring computed
    assert told(server, ids, cache_salt="scores") == [alone]


def test_prefixes_on_disk_give_no_scores_either(server, ids, tmp_path):
    long = ids * 2

    def usage(s):
        return s.post("/v1/completions", {"model": MODEL, "prompt": long, "max_tokens": 1})["usage"]
    with serving("-c", 1024, "--prefix-dir", tmp_path) as s:
        usage(s)
    with serving("-c", 1024, "--prefix-dir", tmp_path) as s:
        assert told(s, long) == told(server, long)
    with serving("-c", 1024, "--prefix-dir", tmp_path) as s:  # though they are there
        assert usage(s)["prompt_tokens_details"]["cached_tokens"] >= 256


@pytest.mark.parametrize("options", [["--threads", 1], ["--threads", 2, "-b", 16], ["-b", 1, "--parallel", 1],
                                     ["--no-prefix-cache"], ["--draft-max", 0]], ids=str)
def test_the_same_bytes_however_they_are_computed(ids, alone, options):
    with serving("-c", 512, *options) as s:
        assert told(s, ids) == [alone]


def noise(server, i):
    return server.post("/v1/chat/completions", {
        "model": MODEL, "max_tokens": 60, "seed": i, "ignore_eos": True, "priority": -i,
        "messages": [{"role": "user", "content": f"{i} " + TEXT}]})


@pytest.mark.parametrize("options", [[], ["--kv-size", "13M", "-c", 512]], ids=str)
def test_the_same_bytes_beside_others(server, ids, alone, options):
    """In little memory, too, where prompts are preempted by those before them."""
    with serving("--parallel", 12, *options) as s, concurrent.futures.ThreadPoolExecutor(20) as pool:
        others = [pool.submit(noise, s, i) for i in range(6)]
        mine = [pool.submit(told, s, ids) for _ in range(4)]
        late = [pool.submit(noise, s, 10 + i) for i in range(3)]
        assert [m.result() for m in mine] == [[alone]] * 4
        assert all(o.result() for o in others + late)


def test_who_leaves_is_not_computed_for(server, ids):
    body = json.dumps({"model": MODEL, "prompt": [ids * 5] * 100, "max_tokens": 0, "echo": True, "logprobs": 1}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    before = server.metric("puna_steps_total")
    with server.connect() as c:
        c.sendall(head + body)
        wait_until(lambda: server.metric("puna_steps_total") > before)
    wait_until(server.is_idle)
    assert server.metric("puna_steps_total") - before < 100 * len(ids) * 5 / 64


# --- limits

def refused(server, **options):
    body = {"model": MODEL, "max_tokens": 0, "echo": True, "logprobs": 1} | options
    status, document = server.ask("POST", "/v1/completions", body)
    assert status == 400
    return document["error"]


def test_what_is_too_long_is_refused(server):
    error = refused(server, prompt=[5] * 1025)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "1024 tokens. However, your prompt resulted in 1025" in error["message"]
    error = refused(server, prompt=[5] * 1024, max_tokens=1)
    assert "1024 tokens. However, you requested 1025 tokens (1024 in the prompt, 1 in" in error["message"]
    assert refused(server, prompt=[[5], [5] * 1025])["param"] == "prompt[1]"
    assert refused(server, prompt=[5] * 1025, logprobs=None)["code"] == "context_length_exceeded"
    (logprobs,) = told(server, [5] * 1024)
    assert len(logprobs["token_logprobs"]) == 1024
    words = "word " * 900
    for prompt in (words, server.post("/tokenize", {"content": words})["tokens"]):
        error = refused(server, prompt=[prompt] * 120, n=16, logprobs=None)
        assert error["param"] == "echo" and "8640000 bytes" in error["message"] and "8388608" in error["message"]
    # 16 * 120 choices of 500 tokens, each told with 5 others
    error = refused(server, prompt=["a"] * 120, n=16, echo=False, logprobs=5, max_tokens=500)
    assert error["param"] == "max_tokens"
    assert all(number in error["message"] for number in ("500", "1920 choices", "6 tokens", "384000000", "67108864"))
    error = refused(server, prompt=[[5] * 1000] * 33, n=4)
    assert error["param"] == "echo" and "132000 tokens" in error["message"] and "131072" in error["message"]
