"""Ten turns of calls and answers on the default model, which was taught no tools: its template has no place for them, so a
system message tells them, and calls are demanded so that they come."""
import json

import jsonschema_rs
import openai
import pytest

from puna_server import serving

MODEL = "SmolLM2-135M-Instruct.Q4_1"
CITIES = ["Rome", "Lima", "Oslo", "Cairo", "Tokyo"]
PARAMETERS = {"type": "object", "properties": {"city": {"enum": CITIES}, "days": {"type": "integer", "minimum": 1, "maximum": 5}},
              "required": ["city", "days"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": PARAMETERS}},
         {"type": "function", "function": {"name": "get_time", "description": "The time now."}}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture(scope="module")
def client():
    with serving("-c", 4096, "-t", 2) as server, openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120) as c:
        yield c


def ask(client, messages, stream=False, **options):
    """The message, why it ended, and the usage, however it comes."""
    options = {"model": MODEL, "messages": messages, "tools": TOOLS, "max_tokens": 60, "temperature": 0} | options
    if not stream:
        answer = client.chat.completions.create(**options)
        return answer.choices[0].message, answer.choices[0].finish_reason, answer.usage
    with client.chat.completions.stream(**options, stream_options={"include_usage": True}) as events:
        for _ in events:
            pass
        answer = events.get_final_completion()
    return answer.choices[0].message, answer.choices[0].finish_reason, answer.usage


@pytest.mark.parametrize("stream", [False, True])
def test_ten_turns_of_calls_and_answers(client, stream):
    messages, before = [], 0
    for turn in range(10):
        messages.append({"role": "user", "content": f"How warm will it be in {CITIES[turn % 5]}?"})
        said, why, usage = ask(client, messages, stream, tool_choice=NAMED, parallel_tool_calls=False)
        assert why == "tool_calls" and [c.function.name for c in said.tool_calls] == ["get_weather"]
        jsonschema_rs.validate(PARAMETERS, json.loads(said.tool_calls[0].function.arguments))
        assert turn == 0 or usage.prompt_tokens_details.cached_tokens >= before - 1
        messages.append(said.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": f"{15 + turn} °C"})
        called = usage.prompt_tokens + usage.completion_tokens
        said, why, usage = ask(client, messages, stream, max_tokens=12)
        assert why in ("stop", "length", "tool_calls") and usage.prompt_tokens_details.cached_tokens >= called - 2
        messages.append({"role": "assistant", "content": said.content or ""})
        before = usage.prompt_tokens
