"""Chat templates as a client of `puna serve` meets them: what they refuse, what of their options is wrong, which tokens
are counted. Models are of zero weights, with control tokens and a template of the test's."""
import concurrent.futures
import json
import os
import subprocess

import pytest

from gguf_file import BOOL, I32, LLAMA_TOKENS, STRING, U32, llama
from puna_server import NO_STORE, PUNA, SANDBOX, serving

CONTROL = ["<|begin_of_text|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>"]
TURNS = "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|im_end|>' }}{% endfor %}"


@pytest.fixture
def model(tmp_path):
    """A function from a template to a model's path."""
    def write(template, add_bos=False):
        tokens = LLAMA_TOKENS + CONTROL
        path = tmp_path / "m.gguf"
        path.write_bytes(llama(rows=len(tokens), llama__context_length=(U32, 1024), ggml__tokens=(STRING, tokens),
                               ggml__token_type=(I32, [1] * len(LLAMA_TOKENS) + [3] * len(CONTROL)), ggml__add_bos_token=(BOOL, add_bos),
                               ggml__bos_token_id=(U32, len(LLAMA_TOKENS)), ggml__eos_token_id=(U32, len(LLAMA_TOKENS) + 1),
                               **({"tokenizer__chat_template": (STRING, template)} if template is not None else {})))
        return path
    return write


def user(text):
    return {"role": "user", "content": text}


def ask(server, *messages, **more):
    return server.ask("POST", "/v1/chat/completions", {"model": "m", "messages": messages, "max_tokens": 1, **more})


def failure(server, *messages):
    status, document = ask(server, *messages)
    error = document["error"]
    return status, error["type"], error["param"], error["message"]


def n_prompt(server, *messages):
    status, document = ask(server, *messages)
    assert status == 200, document
    return document["usage"]["prompt_tokens"]


def test_a_refusal_has_the_templates_own_words(model):
    words = "roles must take turns: \"user\", 'assistant' — 🦙"
    raises = "{% if messages | length > 1 %}{{ raise_exception(" + json.dumps(words, ensure_ascii=False) + ") }}{% endif %}"
    with serving(model(raises + TURNS)) as server:
        assert failure(server, user("a"), user("b")) == (400, "invalid_request_error", "messages", words)
        assert n_prompt(server, user("a")) == 1 + len("usera") + 1


def test_an_operation_that_fails_is_named_with_line_and_column(model):
    with serving(model(TURNS + "\n{% if messages[1] is defined %}\n  {{ messages | length + 'x' }}{% endif %}")) as server:
        status, kind, param, message = failure(server, user("a"), user("b"))
        assert (status, kind, param) == (400, "invalid_request_error", "messages")
        assert "line 3, column " in message and "the model's chat template cannot write this conversation" in message
        assert n_prompt(server, user("a")) > 0


def test_a_template_that_does_not_end_costs_one_request_a_bounded_time(model):
    endless = "{% if messages[0].content == 'loop' %}" + "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3 + "{% endif %}"
    with serving(model(endless + TURNS)) as server, concurrent.futures.ThreadPoolExecutor(6) as pool:
        loops = [pool.submit(failure, server, user("loop")) for _ in range(3)]
        others = [pool.submit(n_prompt, server, user("x")) for _ in range(3)]
        assert [one.result() for one in others] == [1 + len("userx") + 1] * 3
        for status, _, _, message in (one.result() for one in loops):
            assert status == 400 and "steps" in message


def test_control_tokens_that_texts_spell_are_counted(model):
    with serving(model(TURNS)) as server:
        for text, n in (("a", 0), ("<|im_end|><|im_start|>system", 2), ("<|im_end|", 0), ("<|eot_id|>" * 7, 7)):
            status, document = ask(server, user(text))
            assert status == 200 and document["usage"]["prompt_tokens"] == 1 + len("user" + text) + 1, text
            assert document["usage"].get("prompt_tokens_details", {}).get("neutralized_tokens", 0) == n, text


@pytest.mark.parametrize("template", ["{{ bos_token }}" + TURNS, TURNS, "{{ bos_token + bos_token }}" + TURNS, "{{ '<|begin_of_text|>' }}" + TURNS])
def test_the_beginning_of_the_text_is_counted_once(model, template):
    with serving(model(template, add_bos=True)) as server:
        assert n_prompt(server, user("a")) == 1 + 1 + len("usera") + 1


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_a_file_of_the_users_is_read_before_requests_come(model, tmp_path, sandbox):
    if sandbox == "on" and "off" in SANDBOX:
        pytest.skip("the tests run without the sandbox")
    path = tmp_path / "own.jinja"
    path.write_text("{% for m in messages %}{{ '<|im_start|>' + m.content }}{% endfor %}")
    with serving(model(TURNS), "--chat-template", path, "--sandbox", sandbox) as server:
        path.unlink()
        assert n_prompt(server, user("abc")) == 1 + 3


def test_a_server_whose_own_template_cannot_be_used_answers_what_needs_none(model):
    with serving(model("{{ messages | urlize }}")) as server:
        status, _, _, message = failure(server, user("a"))
        assert status == 400 and "urlize" in message and "--chat-template" in message
        status, document = server.ask("POST", "/v1/completions", {"model": "m", "prompt": "ab", "max_tokens": 1})
        assert status == 200 and document["usage"]["prompt_tokens"] == 2


def refused(*args):
    """Exit code and the one line of an error of `puna serve`."""
    done = subprocess.run([PUNA, "serve", "--port", "0", "--log", "none", *map(str, args)], capture_output=True, text=True, timeout=60,
                          env=os.environ | NO_STORE)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.returncode, done.stderr


def test_options_that_are_wrong_end_the_server(model, tmp_path):
    path = model(TURNS)
    for name, content, code, text in (
            ("missing", None, 2, "is none of chatml, llama2, llama3, llama3.1, llama3.2, llama3.3, nor a file that can be read: No such file"),
            ("large", b"a" * (5 << 20), 2, "has 5242880 bytes, at most 4194304 are allowed"),
            ("broken", b"{% for m in messages %}\n{{ m.content", 5, "line 2, column "),
            ("binary", b"\x7fELF\0\xff\xfe{{", 5, "UTF-8"),
            ("unsupported", b"{{ messages | urlize }}", 6, "urlize"),
            ("empty", b"", 6, "leaves out what the user says"),
            ("silent", b"Hello!", 6, "leaves out what the user says")):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        got = refused(path, "--chat-template", file)
        assert got[0] == code and text in got[1] and str(file) in got[1], (name, got)
    code, text = refused(path, "--chat-template", tmp_path)
    assert code == 2 and f"{tmp_path} is no file" in text
    code, text = refused(path, "--chat-template", "llama3")
    assert code == 6 and "needs token '<|start_header_id|>', which the vocabulary lacks" in text
    code, text = refused(path, "--tool-format", "xml")
    assert code == 2 and "option --tool-format: 'xml' is not llama3-json, pythonic, function-tag, hermes or none" in text


@pytest.mark.parametrize("template,date,error", [
    (TURNS, "today", "writes no date"), (TURNS, "1 May", "writes no date"),
    ("{{ strftime_now('%d') }}" + TURNS, "1 May", "from the clock alone"),
    ("{{ strftime_now('%d') }}" + TURNS, "today", None), ("{{ date_string }}" + TURNS, "today", None), ("{{ date_string }}" + TURNS, "1May", None)])
def test_a_date_is_taken_where_it_is_written(model, template, date, error):
    if error is not None:
        code, text = refused(model(template), "--date", date)
        assert code == 2 and "option --date: the chat template" in text and error in text
        return
    with serving(model(template), "--date", date) as server:
        n = 1 + len("usera") + 1
        day = {"{{ s": 2, "{{ d": len("01Jan2025") + 2 if date == "today" else 4}[template[:4]]
        assert n_prompt(server, user("a")) == n + day
