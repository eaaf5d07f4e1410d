"""What an answer tells of the prefix cache: how many of its prompt's tokens were found, and why not more.
Prompts are token ids of a model whose greedy answer to everything is token 0, so that what is cached after a
request is known: its prompt and its answer but for the last token, which is never computed."""
import json

import pytest

from gguf_file import U32, llama
from puna_server import serving, wait_until

PAGE = 64
N_CTX = 1024
PROMPT = [1 + i % 90 for i in range(10)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "even.gguf"
    path.write_bytes(llama(llama__context_length=(U32, N_CTX)))
    return path


@pytest.fixture(scope="module")
def server(path):
    with serving("-c", 256, path) as s:
        yield s


def long_prompt(n, first=1):
    return [first] + [1 + i % 90 for i in range(n - 1)]


def ask(server, prompt, salt, **options):
    """(tokens found, why not more)"""
    body = {"model": "even", "prompt": prompt, "max_tokens": 4, "temperature": 0, "cache_salt": salt} | options
    usage = server.post("/v1/completions", body)["usage"]
    cache = usage["cache"]
    assert cache.keys() == {"hit_tokens", "miss_reason"}
    assert cache["hit_tokens"] == usage["prompt_tokens_details"]["cached_tokens"]
    wait_until(server.is_idle)  # its pages are in the cache
    return cache["hit_tokens"], cache["miss_reason"]


def test_a_prompt_that_nobody_sent_is_cold(server):
    assert ask(server, PROMPT, "cold") == (0, "cold")
    assert ask(server, PROMPT[1:], "cold") == (0, "cold")
    assert ask(server, PROMPT, "another") == (0, "cold")  # somebody else's is no hit


def test_a_prompt_that_was_sent_is_complete_but_for_its_last_token(server):
    assert ask(server, PROMPT, "complete") == (0, "cold")
    for _ in range(2):
        assert ask(server, PROMPT, "complete") == (9, "complete")
    assert ask(server, PROMPT[:5], "complete") == (4, "complete")
    assert ask(server, PROMPT + [0, 0, 0, 0], "complete") == (13, "complete")  # with the answer


def test_the_metrics_count_a_prompt_once_as_its_usage_does(server):
    names = "puna_prompt_tokens_total", "puna_prompt_tokens_cached_total"
    body = {"model": "even", "prompt": [PROMPT, PROMPT[1:]], "n": 3, "max_tokens": 4, "cache_salt": "once"}
    for found in (0, 9 + 8):
        before = server.metrics()
        usage = server.post("/v1/completions", body)["usage"]
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (19, found)
        wait_until(server.is_idle)
        after = server.metrics()
        assert [after[name] - before[name] for name in names] == [19, found]


def test_a_prompt_that_goes_on_where_the_cache_ends_is_ended(server):
    ask(server, PROMPT, "ended")
    assert ask(server, PROMPT + [0, 0, 0, 0, 5, 6], "ended") == (13, "ended")
    whole = long_prompt(PAGE - 4 + 1)  # with its answer a whole page is cached
    ask(server, whole, "ended", max_tokens=4)
    assert ask(server, whole + [0] * 4 + [5], "ended") == (PAGE, "ended")


def test_a_prompt_that_goes_on_with_another_token_is_diverged(server):
    ask(server, PROMPT, "diverged")
    assert ask(server, PROMPT[:5] + [80, 81], "diverged") == (5, "diverged")
    assert ask(server, PROMPT + [5, 6], "diverged") == (10, "diverged")  # the answer was another
    long = long_prompt(PAGE + 20)
    ask(server, long, "diverged")
    assert ask(server, long[:PAGE] + [80] * 9, "diverged") == (PAGE, "diverged")


def test_a_prompt_whose_pages_were_needed_is_evicted(path):
    with serving("-c", 256, "--parallel", 1, "--kv-size", "40K", path) as s:
        n_pages = s.metric("puna_kv_pages")
        assert 4 <= n_pages < 8  # a context, but not two
        mine = long_prompt(2 * PAGE + 9)
        assert ask(s, mine, "mine") == (0, "cold")
        assert ask(s, long_prompt(250, first=2), "other") == (0, "cold")
        n_found, why = ask(s, mine, "mine")
        assert why == "evicted" and n_found in (0, PAGE)
        assert ask(s, mine, "mine") == (len(mine) - 1, "complete")


def test_a_prompt_that_is_scored_takes_nothing(server):
    for _ in range(2):
        assert ask(server, PROMPT, "scored", echo=True, logprobs=0) == (0, "prompt_logprobs")
    assert ask(server, PROMPT, "scored") == (9, "complete")


def test_without_a_cache_every_prompt_is_cold(path):
    with serving("-c", 256, "--no-prefix-cache", path) as s:
        for _ in range(2):
            assert ask(s, PROMPT, "a") == (0, "cold")


def test_prefixes_on_disk_are_told_as_those_in_memory(path, tmp_path):
    prompt = long_prompt(5 * PAGE + 9)
    options = "-c", N_CTX, "--prefix-dir", tmp_path / "prefixes", path
    with serving(*options) as s:
        assert ask(s, prompt, "a") == (0, "cold")
    with serving(*options) as s:  # whole pages alone are kept
        assert ask(s, prompt, "a") == (5 * PAGE, "ended")
        assert ask(s, prompt, "a") == (len(prompt) - 1, "complete")
        assert ask(s, prompt, "b") == (0, "cold")
        assert s.metric("puna_prompt_tokens_from_disk_total") == 5 * PAGE


def test_several_prompts_add_up_and_the_reason_is_the_firsts(server):
    ask(server, PROMPT, "several")
    assert ask(server, [PROMPT, [7, 7, 7]], "several") == (9, "complete")
    assert ask(server, [[8, 8, 8], PROMPT], "several", n=2) == (9, "cold")  # once for each prompt


def test_a_stream_and_a_chat_tell_the_same():
    document = {"model": "SmolLM2-135M-Instruct.Q4_1", "messages": [{"role": "user", "content": "Hi!"}], "max_tokens": 2}
    with serving("-c", 256) as s:
        first = s.post("/v1/chat/completions", document)["usage"]
        assert first["cache"] == {"hit_tokens": 0, "miss_reason": "cold"}
        wait_until(s.is_idle)
        status, text = s.ask("POST", "/v1/chat/completions", document | {
            "stream": True, "stream_options": {"include_usage": True}})
        *_, last, done = [e.removeprefix("data: ") for e in text.split("\n\n") if e]
        n = first["prompt_tokens"] - 1
        assert (status, done) == (200, "[DONE]")
        assert json.loads(last)["usage"]["cache"] == {"hit_tokens": n, "miss_reason": "complete"}


def test_no_verdict_is_untested(server):
    """The library's own test holds the description against the names in the code."""
    usage = server.ask("GET", "/openapi.json")[1]["components"]["schemas"]["Usage"]["properties"]
    reasons = usage["cache"]["properties"]["miss_reason"]["enum"]
    assert set(reasons) == {"complete", "cold", "ended", "diverged", "evicted", "prompt_logprobs"}
