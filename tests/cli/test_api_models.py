"""Answers as the official client reads them: the samples that the C writers print, through the models,
the stream accumulator and the exceptions of the `openai` package."""
import base64
import json
import os
import pathlib
import struct
import subprocess

import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

PRINTER = pathlib.Path(os.environ["PUNA"]).parent / "tests/test_api_answer"


@pytest.fixture(scope="module")
def samples():
    out = subprocess.run([PRINTER, "--print"], capture_output=True, check=True).stdout.decode()
    lines = (line.split("\t", 1) for line in out.rstrip("\n").split("\n"))
    return {name: text.replace("\x1e", "\n") for name, text in lines}


def events(text):
    """The JSON of each event; checks the framing as clients do."""
    parts = text.split("\n\n")
    assert parts.pop() == ""
    assert all(p.startswith("data: ") and "\n" not in p for p in parts)
    return [json.loads(p.removeprefix("data: ")) for p in parts]


def read(model, value):
    """Validated strictly; the client itself would take anything."""
    return model.model_validate(value, strict=True, extra="allow") if isinstance(value, dict) \
        else model.model_validate_json(value, strict=True)


def test_chat(samples):
    answer = read(ChatCompletion, samples["chat"])
    first, second = answer.choices
    assert first.message.content == "Hi✓" and first.finish_reason == "stop" and first.logprobs is None
    assert second.message.content == 'a"\\\n\x01\x7f\ufffd'
    token = second.logprobs.content[1]
    assert bytes(token.bytes) == b"\xe2\x9c" and token.logprob == -1.5
    assert second.logprobs.content[0].top_logprobs[1].logprob == -9999
    assert answer.usage.prompt_tokens_details.cached_tokens == 8
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert second.content_filter_results["profanity"] == {"filtered": True, "detected": True}
    full = read(ChatCompletion, samples["chat_full"])
    assert full.service_tier == "default" and full.warnings[0]["param"] == "verbosity"
    assert full.truncation["dropped_messages"] == 3


def test_completion(samples):
    answer = read(Completion, samples["completion"])
    assert [c.finish_reason for c in answer.choices] == ["stop", "length"]
    scored = json.loads(samples["completion_scored"])
    logprobs = scored["choices"][0]["logprobs"]
    assert {len(v) for v in logprobs.values()} == {2}
    # a prompt's first token has none, and the client's type does not say so
    assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    assert Completion.construct(**scored).choices[0].text == "The end"


def test_chat_stream(samples):
    chunks = [read(ChatCompletionChunk, e) for e in events(samples["chat_stream"])]
    assert [c.choices[0].delta.role for c in chunks[:2]] == ["assistant", "assistant"]
    assert all(c.choices[0].delta.role is None for c in chunks[2:-1])
    assert [c.choices[0].index for c in chunks[:-1]] == [0, 1, 0, 1, 0, 1]
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1] if not c.choices[0].index) == "Hi✓"
    assert [c.choices[0].finish_reason for c in chunks[4:6]] == ["stop", "length"]
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 15
    assert all(c.usage is None and "usage" in c.model_fields_set for c in chunks[:-1])
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    assert not any("error" in e for e in events(samples["chat_stream"]))


def test_the_clients_own_accumulator_takes_the_stream(samples):
    from openai.lib.streaming.chat import ChatCompletionStreamState

    state = ChatCompletionStreamState()
    for event in events(samples["chat_stream"]):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    answer = state.current_completion_snapshot
    assert [c.message.role for c in answer.choices] == ["assistant", "assistant"]
    assert answer.choices[0].message.content == "Hi✓"
    assert answer.choices[0].finish_reason == "stop"


def test_calls(samples):
    first, second = read(ChatCompletion, samples["calls"]).choices
    assert first.message.content is None and second.message.content == "Hi"
    assert [(c.id, c.type, c.function.name, json.loads(c.function.arguments)) for c in first.message.tool_calls] == [
        ("call_1", "function", "f", {"a": "é"}), ("call_2", "function", "g-2", {})]
    (choice,) = read(ChatCompletion, samples["function_call"]).choices
    assert choice.finish_reason == "function_call" and choice.message.tool_calls is None
    assert (choice.message.function_call.name, choice.message.function_call.arguments) == ("f", '{"a": "é"}')


def test_the_clients_own_accumulator_takes_calls(samples):
    from openai.lib.streaming.chat import ChatCompletionStreamState

    state = ChatCompletionStreamState()
    for event in events(samples["call_stream"]):
        read(ChatCompletionChunk, event)
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    (choice,) = state.current_completion_snapshot.choices
    expected = read(ChatCompletion, samples["calls"]).choices[0].message.tool_calls
    assert [(c.id, c.type, c.function.name, c.function.arguments) for c in choice.message.tool_calls] == [
        (c.id, c.type, c.function.name, c.function.arguments) for c in expected]
    assert choice.finish_reason == "tool_calls" and len(choice.logprobs.content) == 1
    chunks = [read(ChatCompletionChunk, e) for e in events(samples["function_stream"])]
    parts = [c.choices[0].delta.function_call for c in chunks]
    assert [p.name for p in parts[:2]] == ["f", None] and parts[0].arguments + parts[1].arguments == '{"a": "é"}'


def test_completion_stream(samples):
    first, last = events(samples["completion_stream"])
    assert first["choices"][0].pop("finish_reason", "absent") is None  # which the client's type lacks
    first["choices"][0]["finish_reason"] = "stop"
    parts = [read(Completion, e) for e in (first, last)]
    assert [p.object for p in parts] == ["text_completion"] * 2
    assert parts[1].choices[0].finish_reason == "length"


def test_embeddings(samples):
    numbers = read(CreateEmbeddingResponse, samples["embeddings_float"])
    coded = json.loads(samples["embeddings_base64"])
    for one, other in zip(numbers.data, coded["data"], strict=True):
        raw = base64.b64decode(other["embedding"], validate=True)
        assert list(struct.unpack("<4f", raw)) == [struct.unpack("f", struct.pack("f", x))[0] for x in one.embedding]
    assert numbers.usage.prompt_tokens == 7


def test_models(samples):
    listed = json.loads(samples["models"])
    assert [read(Model, m).id for m in listed["data"]] == ["m", "meta-llama/x"]
    assert read(Model, samples["model"]).owned_by == "puna"


def test_errors_reach_the_clients_exception(samples):
    import httpx2 as httpx
    from openai import BadRequestError, OpenAI

    request = httpx.Request("POST", "http://localhost/v1/chat/completions")
    response = httpx.Response(400, request=request, text=samples["error"],
                              headers={"content-type": "application/json"})
    error = OpenAI(api_key="x")._make_status_error_from_response(response)
    assert isinstance(error, BadRequestError)
    assert error.param == "messages[2].content" and error.code == "invalid_type"
    assert error.type == "invalid_request_error"
