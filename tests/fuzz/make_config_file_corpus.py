#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/config_file: configuration files, good and bent."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/config_file"
CASES = {
    "good": b"# puna\nhost = 127.0.0.1\nport=8080\n\n  alias =\ta b # c\n",
    "windows": b"\xef\xbb\xbfport = 1\r\n\r\nlog = json\r\n",
    "no-end": b"port = 1\nlog = none",
    "equals": b"a = = b ==\n",
    "section": b"[serve]\nport = 1\n",
    "quotes": b"a = 'b'\n",
    "inner-quotes": b"a = b'c\"\n",
    "no-value": b"a =\n",
    "no-name": b" = a\n",
    "capital": b"Port = 1\n",
    "control": b"a = \x1b[2J\n",
    "nul": b"a = b\0c\n",
    "utf-8": "alias = été 馬\n".encode(),
    "broken": b"alias = \xe2\x82\n",
    "next-line": b"alias = a\xc2\x85b\n",
    "blanks": b" \t \r\n\n\r\r\n#\n",
    "nothing": b"",
    "long": b"a = " + b"x" * 5000 + b"\n",
}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
