#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/api_chat, api_completion and api_other: bodies of requests, good and bent (see
api_target.h); and api_service: such as a small model can answer (see fuzz_api_service.c)."""
import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
USER = {"role": "user", "content": "Hi"}
SAMPLING = {
    "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "typical_p": 0.9, "seed": -1, "n": 2,
    "repetition_penalty": 1.1, "frequency_penalty": 1, "presence_penalty": -1, "logit_bias": {"5": -100},
    "stop": ["a", "b"], "stop_token_ids": [1, 2], "min_tokens": 1, "ignore_eos": True, "priority": 1,
    "cache_salt": "s", "user": "u", "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": True},
}
CHAT = {
    "model": "m", "max_tokens": 5, "max_completion_tokens": 6, "logprobs": True, "top_logprobs": 3,
    "response_format": {"type": "text"}, "tool_choice": "auto", "parallel_tool_calls": True,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "modalities": ["text"], "prediction": {"type": "content", "content": "a"}, "store": False,
    "metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "x", "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"}, "prompt_cache_retention": "24h",
    "reasoning_effort": "low", "verbosity": "high", "truncation": "auto", "strict": False,
    "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}]}, USER,
                 {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None}, USER],
}


def messages(*items):
    return {"model": "m", "messages": list(items)}


def call(name):
    return {"id": name, "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1, {\"b\": null}]}"}}


CHATS = {
    "all": CHAT | SAMPLING,
    "strict": CHAT | {"strict": True},
    "image": messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
    "audio": messages({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}),
    "tool": messages(USER, {"role": "tool", "tool_call_id": "c", "content": "a"}),
    "tool-calls": messages({"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}),
    "function-role": messages(USER, {"role": "function", "name": "f", "content": "a"}),
    "tools": messages(USER) | {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
                               "tool_choice": {"type": "function", "function": {"name": "f"}},
                               "parallel_tool_calls": False},
    "functions": messages(USER) | {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    "functions-auto": messages(USER, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
                               {"role": "function", "name": "f", "content": "a"}) | {
        "functions": [{"name": "f", "parameters": SCHEMA}], "function_call": "auto"},
    "tools-auto": messages(USER, {"role": "assistant", "content": None, "tool_calls": [call("c"), call("d")]},
                           {"role": "tool", "tool_call_id": "d", "content": "a"},
                           {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]}) | {
        "tools": [{"type": "function", "function": {"name": n, "description": "d", "parameters": SCHEMA, "strict": False}}
                  for n in ("f", "g-1")], "tool_choice": "auto", "parallel_tool_calls": False},
    "call-unanswered": messages({"role": "assistant", "tool_calls": [call("c")]}, USER),
    "schema": messages(USER) | {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    "json": messages(USER) | {"response_format": {"type": "json_object"}},
    "edges": messages(USER) | {"temperature": 2, "top_p": 0, "seed": 2**63 - 1, "top_k": -1, "n": 16.0},
    "past-edges": messages(USER) | {"temperature": 2.1},
    "unknown": messages(USER) | {"temprature": 1},
    "nulls": messages(USER) | {"stop": None, "seed": None, "tools": None, "n": None},
    "unicode": messages({"role": "user", "name": "a_b", "content": "\u0000\U0001f999\u2028\\\""}),
    "refusal": messages(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER),
    "continue": messages(USER, {"role": "assistant", "content": "a"}) | {"continue_final_message": True,
                                                                       "add_generation_prompt": False},
    "samplers": messages(USER) | {"xtc_probability": 0.1, "dry_multiplier": 1, "mirostat": 2, "repeat_penalty": 1.1,
                                  "grammar": "a", "guided_json": {}, "structured_outputs": {}, "bad_words": ["a"],
                                  "prompt_logprobs": 1, "use_beam_search": True, "truncate_prompt_tokens": 5},
    "later": messages(USER) | {"audio": {}, "web_search_options": {}, "moderation": {}, "prediction": None,
                               "chat_template": "x", "chat_template_kwargs": {}},
}
FORMATS = {
    "json": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "description": "d", "strict": True, "schema": SCHEMA}}},
    "schema-none": {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    "guided-json": {"guided_json": SCHEMA}, "guided-text": {"guided_json": json.dumps(SCHEMA)}, "guided-true": {"json_schema": True},
    "regex": {"guided_regex": "(a|b){1,3}\\d?"}, "choice": {"guided_choice": ["a", "b", ""]},
    "gbnf": {"grammar": 'root ::= "a" root? | [b-d]{2}'}, "guided-grammar": {"guided_grammar": 'root ::= x+\nx ::= [^\\x41]'},
    "outputs-json": {"structured_outputs": {"json": {"enum": [1, "a", None]}}}, "outputs-regex": {"structured_outputs": {"regex": "a+"}},
    "outputs-choice": {"structured_outputs": {"choice": ["a"], "json_object": False}},
    "outputs-grammar": {"structured_outputs": {"grammar": 'root ::= "a"'}}, "outputs-object": {"structured_outputs": {"json_object": True}},
    "two": {"guided_regex": "a", "structured_outputs": {"regex": "a"}}, "ends": {"guided_regex": "a", "ignore_eos": True},
    "min": {"guided_choice": ["a"], "min_tokens": 3}, "unknown": {"guided_json": {"properties": {"a": {"nope": 1}}}},
    "nothing": {"guided_json": {"enum": []}}, "no-regex": {"guided_regex": "(a"}, "no-gbnf": {"grammar": "root ::= root"},
}
CHATS |= {f"format-{name}": messages(USER) | format for name, format in FORMATS.items()}
CHATS["tools-required"] = CHATS["tools"] | {"tool_choice": "required"}
COMPLETIONS = {
    "all": {"model": "m", "prompt": [[1, 2], [3]], "echo": True, "logprobs": 5, "best_of": 2, "max_tokens": 16} | SAMPLING,
    "texts": {"model": "m", "prompt": ["a", "b"]},
    "ids": {"model": "m", "prompt": [1, 999, 1000]},
    "mixed": {"model": "m", "prompt": ["a", 1, [2]]},
    "score": {"model": "m", "prompt": [[1, 2, 3], [4]], "max_tokens": 1, "temperature": 0, "logprobs": 1,
              "echo": True, "seed": 1234},
    "score-text": {"model": "m", "prompt": "", "max_tokens": 0, "logprobs": 0, "echo": True},
    "suffix": {"model": "m", "prompt": "a", "suffix": "b", "logprobs": 6},
    "stream-best": {"model": "m", "prompt": "a", "stream": True, "best_of": 3, "n": 2},
}
OTHERS = {
    "embeddings": {"model": "m", "input": ["a"], "encoding_format": "base64", "pooling": "last"},
    "embeddings-ids": {"model": "m", "input": [[1, 2], [999]], "encoding_format": "float", "user": "u",
                       "dimensions": 64, "pooling": "mean"},
    "embeddings-one": {"model": "m", "input": [5, 1000]},
    "embeddings-mixed": {"model": "m", "input": ["a", 5, [1], None, ""]},
    "embeddings-many": {"model": "m", "input": ["a"] * 2049},
    "tokenize": {"content": ["a", 5, ""], "add_special": True, "with_pieces": True, "parse_special": False},
    "tokenize-text": {"content": "a", "model": "m"},
    "detokenize": {"tokens": [1, 999, 1000]},
    "detokenize-one": {"tokens": [1]},
    "apply-template": {"messages": [USER], "add_generation_prompt": False},
    "ephemeral-key": {"model": "m", "origin": "https://a.example:444", "max_tokens": 5, "budget_tokens": 100,
                      "expires_after": {"anchor": "created_at", "seconds": 60}},
    "ephemeral-bad": {"model": "m", "origin": "https://a.example/b", "max_tokens": 5, "budget_tokens": 0,
                      "expires_after": {"anchor": "now", "seconds": 601}},
}
RAW = {
    "deep": b'{"a":' + b"[" * 3000,
    "many": b'{"a":[' + b"{}," * 3000,
    "twice": b'{"model":"a","model":"b"}',
    "half-surrogate": b'{"model":"\\ud83e"}',
    "not-utf8": b'{"model":"\xff"}',
    "huge-number": b'{"n":1e999}',
    "huge-integer": b'{"n":99999999999999999999}',
    "open-string": b'{"model":"\\',
    "cut": json.dumps(CHAT).encode()[:-20],
    "array": b"[]",
    "nothing": b"",
}
COMPLETIONS |= {f"format-{name}": {"model": "m", "prompt": "a"} | format for name, format in list(FORMATS.items())[::3]}
CHAT_AT, COMPLETION_AT, EMBEDDINGS_AT, TOKENIZE_AT, DETOKENIZE_AT, TEMPLATE_AT, KEY_AT = range(7)
SHORT = {"model": "m", "max_tokens": 5, "seed": 1}
SERVED = {
    "chat": (CHAT_AT, 0, SHORT | messages(USER)),
    "chat-stream": (CHAT_AT, 0, SHORT | messages(USER) | {"stream": True, "stream_options": {"include_usage": True}, "n": 2}),
    "chat-logprobs": (CHAT_AT, 0, SHORT | messages(USER) | {"logprobs": True, "top_logprobs": 3, "n": 2}),
    "chat-stream-logprobs": (CHAT_AT, 0, SHORT | messages(USER) | {"logprobs": True, "stream": True}),
    "chat-left": (CHAT_AT, 200, SHORT | messages(USER) | {"stream": True, "max_tokens": 100, "ignore_eos": True}),
    "chat-to-the-end": (CHAT_AT, 0, {"model": "m", "seed": 3, "ignore_eos": True} | messages(USER)),
    "chat-too-long": (CHAT_AT, 0, SHORT | messages(USER | {"content": "a b " * 60})),
    "chat-truncated": (CHAT_AT, 0, SHORT | messages(USER, {"role": "assistant", "content": "a" * 90}, USER)
                       | {"truncation": "auto"}),
    "chat-ends": (CHAT_AT, 0, SHORT | messages(USER) | {"stop": ["a", "b"], "stop_token_ids": [9], "min_tokens": 2}),
    "chat-sampled": (CHAT_AT, 0, SHORT | messages(USER) | {"temperature": 2, "top_p": 0.5, "top_k": 5, "min_p": 0.1,
                                                          "logit_bias": {"262": 100}, "frequency_penalty": 1}),
    "completion": (COMPLETION_AT, 0, SHORT | {"prompt": ["a", "ab a"], "best_of": 2}),
    "completion-ids": (COMPLETION_AT, 0, SHORT | {"prompt": [[5, 6], [262]], "echo": True, "logprobs": 2}),
    "completion-score": (COMPLETION_AT, 0, SHORT | {"prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 0}),
    "completion-stream": (COMPLETION_AT, 0, SHORT | {"prompt": ["a", ""], "stream": True, "echo": True, "logprobs": 0}),
    "completion-filtered": (COMPLETION_AT, 0, SHORT | {"prompt": "bad word", "logit_bias": {"264": 100}}),
    "embeddings": (EMBEDDINGS_AT, 0, {"model": "m", "input": ["a", "b"]}),
    "embeddings-base64": (EMBEDDINGS_AT, 0, {"input": [5, 6], "model": "m", "encoding_format": "base64", "pooling": "last"}),
    "tokenize": (TOKENIZE_AT, 0, {"content": ["ab <|im_end|>", 5], "with_pieces": True, "add_special": True}),
    "detokenize": (DETOKENIZE_AT, 0, {"tokens": [4, 5, 200, 262]}),
    "template": (TEMPLATE_AT, 0, {"messages": [USER, {"role": "assistant", "content": "<|im_end|>"}]}),
    "template-tools": (TEMPLATE_AT, 0, {k: CHATS["tools-auto"][k] for k in ("messages", "tools", "tool_choice")}),
    "key": (KEY_AT, 0, OTHERS["ephemeral-key"]),
    "no-model": (CHAT_AT, 0, SHORT | messages(USER) | {"model": "other"}),
    "tools-required": (CHAT_AT, 0, SHORT | CHATS["tools-required"] | {"max_tokens": 40}),
    "tools-strict": (CHAT_AT, 0, SHORT | messages(USER) | {"max_tokens": 20, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]}),
    "tools-format": (CHAT_AT, 0, SHORT | CHATS["tools"] | FORMATS["json"] | {"tool_choice": "auto"}),
}
SERVED |= {f"format-{name}": (CHAT_AT, 0, SHORT | messages(USER) | format) for name, format in FORMATS.items()}
SERVED["format-stream"] = (CHAT_AT, 0, SHORT | messages(USER) | FORMATS["schema"] | {"stream": True, "n": 2, "temperature": 2, "max_tokens": 60})
SERVED["format-completion"] = (COMPLETION_AT, 0, SHORT | {"prompt": ["a", "b"], "echo": True, "logprobs": 1, "best_of": 2} | FORMATS["gbnf"])


def main():
    cases = {"api_chat": CHATS, "api_completion": COMPLETIONS, "api_other": OTHERS}
    for folder, bodies in cases.items():
        (OUT / folder).mkdir(parents=True, exist_ok=True)
        for name, body in bodies.items():
            (OUT / folder / f"{name}.json").write_text(json.dumps(body))
    (OUT / "api_service").mkdir(parents=True, exist_ok=True)
    for name, (address, left_after, body) in SERVED.items():
        (OUT / "api_service" / name).write_bytes(bytes([address, left_after]) + json.dumps(body).encode())
    for name, data in RAW.items():
        (OUT / "api_chat" / f"{name}.json").write_bytes(data)


if __name__ == "__main__":
    main()
