"""The content filter of `puna serve` as the official Python client meets it. The default model does not
swear, so the lists here hold words of its own answers; what is right is searched with `re`."""
import os
import re
import subprocess

import openai
import pytest

from puna_server import PUNA, serving

MODEL = "SmolLM2-135M-Instruct.Q4_1"
HELLO = [{"role": "user", "content": "Tell me about llamas."}]
HARMS = ["hate", "self_harm", "sexual", "violence"]
BOTH = ["jailbreak", "profanity"]


def client_of(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


def chat(server, **options):
    return client_of(server).chat.completions.create(
        **({"model": MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 48} | options))


def complete(server, **options):
    return client_of(server).completions.create(
        **({"model": MODEL, "prompt": "A llama is", "temperature": 0, "max_tokens": 32} | options))


def result(detected, filtered=False):
    return {**{name: {"filtered": False} for name in HARMS},
            "jailbreak": {"filtered": False, "detected": False},
            "profanity": {"filtered": filtered, "detected": detected}}


@pytest.fixture(scope="module")
def plain():
    with serving("-c", 1024, "--content-filter", "off") as s:
        yield s


@pytest.fixture(scope="module")
def built_in():
    with serving("-c", 1024) as s:
        yield s


@pytest.fixture(scope="module")
def text(plain):
    return chat(plain).choices[0].message.content


@pytest.fixture(scope="module")
def phrase(text):
    """Two words of the middle of the greedy answer, in capitals."""
    words = list(re.finditer(r"(?<=\s)([A-Za-z]+ [A-Za-z]+)(?=\W)", text[len(text) // 3:]))
    return words[0][1].upper()


def search(phrase, text):
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE)


@pytest.fixture(scope="module")
def words_file(tmp_path_factory, phrase):
    path = tmp_path_factory.mktemp("filter") / "words.txt"
    path.write_text(f"# of our own\n{phrase}\nthe\n")
    return path


@pytest.fixture(scope="module")
def telling(words_file):
    with serving("-c", 1024, "--profanity-words", words_file) as s:
        yield s


@pytest.fixture(scope="module")
def blocking(tmp_path_factory, phrase):
    path = tmp_path_factory.mktemp("filter") / "phrase.txt"
    path.write_text(phrase)
    with serving("-c", 1024, "--profanity-words", path, "--content-filter", "block") as s:
        yield s


def streamed(stream):
    """{index: [(text, finish reason, result)]} of the events behind the role."""
    events = {}
    for chunk in stream:
        assert "prompt_filter_results" not in chunk.model_extra
        for c in chunk.choices:
            is_chat = hasattr(c, "delta")
            if is_chat and c.delta.role is not None:
                continue
            delta = (c.delta.content or "") if is_chat else c.text
            events.setdefault(c.index, []).append((delta, c.finish_reason, c.model_extra.get("content_filter_results")))
    return events


def test_capabilities_say_who_judges_what(plain, built_in):
    nobody = dict.fromkeys(HARMS + BOTH)
    for server, expected in (plain, nobody), (built_in, nobody | {"profanity": "word list"}):
        assert server.ask("GET", "/v1/capabilities")[1]["content_filter"] == expected


def test_without_the_filter_no_answer_has_results(plain):
    assert "content_filter_results" not in chat(plain).choices[0].model_extra
    assert {r for _, _, r in streamed(chat(plain, stream=True))[0]} == {None}


@pytest.mark.parametrize("ask", [chat, complete])
def test_every_choice_and_every_event_has_results_by_default(built_in, plain, ask):
    options = {"n": 2, "temperature": 1, "seed": 3}
    whole = ask(built_in, **options)
    assert [c.content_filter_results for c in whole.choices] == [result(False)] * 2
    assert "prompt_filter_results" not in whole.model_extra
    for events in streamed(ask(built_in, stream=True, **options)).values():
        assert [r for _, _, r in events] == [result(False)] * len(events)


@pytest.mark.parametrize("ask", [chat, complete])
@pytest.mark.parametrize("options", [{}, {"temperature": 1, "seed": 9, "n": 3}])
def test_what_is_found_is_told_and_changes_no_byte(telling, plain, phrase, ask, options):
    whole, unfiltered = ask(telling, **options), ask(plain, **options)
    events = streamed(ask(telling, stream=True, **options))
    assert whole.usage.completion_tokens == unfiltered.usage.completion_tokens
    for c, u in zip(whole.choices, unfiltered.choices, strict=True):
        said, wanted = (x.message.content if ask is chat else x.text for x in (c, u))
        found = bool(search("the", wanted) or search(phrase, wanted))
        assert (said, c.finish_reason, c.content_filter_results) == (wanted, u.finish_reason, result(found))
        parts = events[c.index]
        assert "".join(t for t, _, _ in parts) == wanted and parts[-1][1:] == (c.finish_reason, result(found))
        so_far = ""
        for delta, _, told in parts[:-1]:  # an event tells what was found up to it
            so_far += delta
            assert told == result(bool(search("the", so_far + "\0") or search(phrase, so_far + "\0")))


def test_the_greedy_answer_has_the_words_that_these_tests_look_for(text, phrase):
    assert search(phrase, text) and phrase not in text


def test_a_blocked_answer_ends_before_the_word(blocking, text, phrase):
    expected = text[:search(phrase, text).start()]
    whole = chat(blocking, logprobs=True, top_logprobs=1)
    (choice,) = whole.choices
    assert (choice.message.content, choice.finish_reason) == (expected, "content_filter")
    assert choice.content_filter_results == result(True, filtered=True)
    events = streamed(chat(blocking, stream=True))[0]
    assert "".join(t for t, _, _ in events) == expected
    assert events[-1] == ("", "content_filter", result(True, filtered=True))
    told = [t.token for t in choice.logprobs.content]  # nor do log probabilities give it away
    assert expected.startswith("".join(told)) and told


def test_choices_are_blocked_one_by_one(blocking, plain, phrase):
    options = {"n": 6, "temperature": 0.7, "seed": 1, "max_tokens": 48}
    whole, unfiltered = chat(blocking, **options), chat(plain, **options)
    events = streamed(chat(blocking, stream=True, **options))
    for c, u in zip(whole.choices, unfiltered.choices, strict=True):
        match = search(phrase, u.message.content)
        expected = u.message.content[:match.start()] if match else u.message.content
        assert c.message.content == expected == "".join(t for t, _, _ in events[c.index])
        assert c.finish_reason == ("content_filter" if match else u.finish_reason) == events[c.index][-1][1]


def test_a_prompt_is_not_judged(blocking, phrase):
    messages = [{"role": "user", "content": f"Say yes. {phrase}"}]
    (choice,) = chat(blocking, messages=messages, max_tokens=1).choices
    assert choice.finish_reason != "content_filter" and choice.content_filter_results == result(False)
    (choice,) = complete(blocking, prompt=f"{phrase}:", echo=True, max_tokens=1).choices
    assert choice.text.startswith(f"{phrase}:") and choice.content_filter_results == result(False)


# --- options

def failure(*args):
    done = subprocess.run([PUNA, "serve", "--port", "0", *map(str, args)], capture_output=True, timeout=60, env={})
    assert done.stdout == b"" and done.stderr.count(b"\n") == 1
    return done.returncode, done.stderr.decode().removeprefix("puna serve: ").rstrip("\n")


def test_wrong_options_are_refused_before_a_model_is_loaded(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a\n")
    assert failure("--content-filter", "yes") == (2, "option --content-filter: 'yes' is not on, off or block")
    assert failure("--content-filter", "off", "--profanity-words", path) == (
        2, "option --profanity-words has no effect with --content-filter off")
    for words, problem in ((b"a\nb\xff\n", "line 2: not UTF-8"), (b"# a\n\n", "no words in 2 lines"),
                           (b"a\n" + b"b" * 65, "line 2: more than 64 characters"),
                           (b"a\0b", "line 1: control character U+0000"),
                           (b"a\n" * (1 << 20), "1048577 bytes, at most 1048576")):
        path.write_bytes(words)
        assert failure("--profanity-words", path) == (2, f"option --profanity-words: {path}: {problem}")


def test_words_that_cannot_be_read_are_an_error(tmp_path):
    code, line = failure("--profanity-words", tmp_path / "none")
    assert code == 4 and line == f"option --profanity-words: {tmp_path}/none: {os.strerror(2)}"
    code, line = failure("--profanity-words", tmp_path)
    assert code == 4 and line.startswith(f"option --profanity-words: {tmp_path}: ")
