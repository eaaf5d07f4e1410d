#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/conversation: chats as JSON, good and bent (see fuzz_conversation.c)."""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/conversation"
USER = b'{"role": "user", "content": "Hi"}'


def chat(*messages):
    return b'{"messages": [' + b", ".join(messages) + b"]}"


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {
        "turns": chat(b'{"role": "system", "content": "Be short."}', USER,
                      b'{"role": "assistant", "content": "Hello!"}', USER),
        "empty": chat(),
        "escapes": chat(b'{"content": "\\u0000\\ud83e\\udd99\\n\\"\\\\/\xc3\xa9", "role": "user"}'),
        "two-systems": chat(b'{"role": "system", "content": "a"}', b'{"role": "system", "content": "b"}'),
        "half-surrogate": chat(b'{"role": "user", "content": "\\ud83e"}'),
        "not-utf8": chat(b'{"role": "user", "content": "\xff"}'),
        "unknown-key": chat(b'{"role": "user", "content": "a", "name": "b"}'),
        "unknown-role": chat(b'{"role": "ipython", "content": "a"}'),
        "tool": chat(USER, b'{"role": "tool", "content": "{\\"a\\": 1}"}'),
        "no-content": chat(b'{"role": "user"}'),
        "content-parts": chat(b'{"role": "user", "content": [{"type": "text", "text": "a"}]}'),
        "twice": chat(b'{"role": "user", "content": "a", "content": "b"}'),
        "array": b"[" + USER + b"]",
        "cut": chat(USER)[:-5],
        "deep": b"[" * 3000,
        "more": chat(USER) + b" 1",
        "nothing": b"",
    }
    for name, data in files.items():
        (OUT / f"{name}.json").write_bytes(data)


if __name__ == "__main__":
    main()
