#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/api: bodies of requests, good and bent (see fuzz_api.c)."""
import json
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/api"
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
    "response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "function_call": "none",
    "modalities": ["text"], "prediction": {"type": "content", "content": "a"}, "store": False,
    "metadata": {"a": "b"}, "service_tier": "flex", "safety_identifier": "x", "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"}, "prompt_cache_retention": "24h",
    "reasoning_effort": "low", "verbosity": "high", "truncation": "auto", "strict": False,
    "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}]}, USER,
                 {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None}, USER],
}


def messages(*items):
    return {"model": "m", "messages": list(items)}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {
        "chat": CHAT | SAMPLING,
        "completion": {"model": "m", "prompt": [[1, 2], [3]], "echo": True, "logprobs": 5, "best_of": 2,
                       "max_tokens": 16} | SAMPLING,
        "texts": {"model": "m", "prompt": ["a", "b"]},
        "embeddings": {"model": "m", "input": ["a"], "encoding_format": "base64", "pooling": "last"},
        "embeddings-ids": {"model": "m", "input": [[1, 2], [999]], "encoding_format": "float", "user": "u",
                           "dimensions": 64, "pooling": "mean"},
        "embeddings-one": {"model": "m", "input": [5, 1000]},
        "embeddings-mixed": {"model": "m", "input": ["a", 5, [1], None, ""]},
        "embeddings-many": {"model": "m", "input": ["a"] * 2049},
        "score": {"model": "m", "prompt": [[1, 2, 3], [4]], "max_tokens": 1, "temperature": 0, "logprobs": 1,
                  "echo": True, "seed": 1234},
        "score-text": {"model": "m", "prompt": "", "max_tokens": 0, "logprobs": 0, "echo": True},
        "tokenize": {"content": ["a", 5, ""], "add_special": True, "with_pieces": True},
        "detokenize": {"tokens": [1, 999, 1000]},
        "apply-template": {"messages": [USER], "add_generation_prompt": False},
        "strict": CHAT | {"strict": True},
        "image": messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        "tool": messages(USER, {"role": "tool", "tool_call_id": "c", "content": "a"}),
        "tool-calls": messages({"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}),
        "tools": messages(USER) | {"tools": [{"type": "function", "function": {"name": "f"}}]},
        "schema": messages(USER) | {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "edges": messages(USER) | {"temperature": 2, "top_p": 0, "seed": 2**63 - 1, "top_k": -1, "n": 16.0},
        "past-edges": messages(USER) | {"temperature": 2.1},
        "unknown": messages(USER) | {"temprature": 1},
        "nulls": messages(USER) | {"stop": None, "seed": None, "tools": None, "n": None},
        "unicode": messages({"role": "user", "content": "\u0000\U0001f999\u2028\\\""}),
    }
    for name, body in files.items():
        (OUT / f"{name}.json").write_text(json.dumps(body))
    raw = {
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
    for name, data in raw.items():
        (OUT / f"{name}.json").write_bytes(data)


if __name__ == "__main__":
    main()
