#!/usr/bin/env python3
"""Writes the hand-made part of tests/fuzz/corpus/http: two bytes that say how the client sends and how
the server is set up, and requests (see fuzz_http.c)."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/http"
HALF_CLOSE, ORIGINS, SMALL, HURRY, GONE = 1, 2, 4, 8, 16


def get(path, *fields, method="GET", version="1.1"):
    return f"{method} {path} HTTP/{version}\r\nHost: a.example\r\n{''.join(f + chr(13) + chr(10) for f in fields)}\r\n".encode()


def post(path, body, *fields):
    return get(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


def chunked(path, body, *fields):
    return get(path, "Transfer-Encoding: chunked", *fields, method="POST") + body


CASES = {
    "get": (0, get("/e?")),
    "query": (0, get("/e?a%20b=c")),
    "pipelined": (1, get("/e") + post("/v1/e", b"one") + get("/n") + get("/v1/m/a%2Fb") + get("/e", method="HEAD")),
    "bodies": (2, post("/e", b"abc") + chunked("/e", b"3;x=\"y\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: x\r\n\r\n")
               + get("/e", "Connection: close")),
    "later": (3, post("/later", b"x") + get("/events") + get("/later")),
    "later-half": (3 | HALF_CLOSE << 8, post("/later", b"x") + get("/events", version="1.0")),
    "hurry": (HURRY << 8, post("/later", b"x") + get("/events")),
    "hurry-half": ((HURRY | HALF_CLOSE) << 8, post("/later", b"x") + get("/events")),
    "gone": ((HURRY | GONE) << 8, get("/events") + post("/e", b"x")),
    "continue": (9, post("/e", b"body", "Expect: 100-continue")),
    "continue-unwanted": (9, post("/nothing", b"body", "Expect: 100-continue") + get("/e")),
    "expects-else": (9, post("/e", b"body", "Expect: more")),
    "old": (5, get("/e", "Connection: keep-alive", version="1.0") + get("/events", version="1.0")),
    "new": (5, get("/e", version="2.0")),
    "options": (6, get("/e", method="OPTIONS") + get("*", method="OPTIONS") + get("/e", method="PUT")),
    "preflight": (ORIGINS << 8, get("/e", "Origin: https://a.example", "Access-Control-Request-Method: POST",
                                    "Access-Control-Request-Headers: x-a, authorization", method="OPTIONS")),
    "page": (ORIGINS << 8, get("/e", "Origin: https://a.example") + get("/e", "Origin: https://b.example")),
    "own-page": (ORIGINS << 8, get("/e", "Origin: http://a.example") + get("/e", "Sec-Fetch-Site: same-origin", "Origin: null")),
    "named": (7, get("/e", "X-Request-Id: a.b:c") + get("/e", "X-Request-Id: a b")),
    "coding": (8, post("/e", b"x", "Content-Encoding: gzip")),
    "many-lines": (1, b"\r\n" + get("/e") + b"\r\n\r\n" + get("/e")),
    "long-target": (2, get("/" + "a" * 600)),
    "long-field": (1 | SMALL << 8, get("/e", "X: " + "a" * 2100)),
    "many-fields": (1, get("/e", *["X:"] * 101)),
    "large-body": (1, get("/e", "Content-Length: 2049", method="POST")),
    "large-chunk": (1, chunked("/e", b"900\r\n" + b"a" * 2304 + b"\r\n0\r\n\r\n")),
    "cut-body": (1, get("/e", "Content-Length: 9", method="POST") + b"abc"),
    "cut-head": (1, b"GET /e HTTP/1.1\r\nHos"),
    "two-lengths": (1, get("/e", "Content-Length: 1", "Content-Length: 2", method="POST") + b"ab"),
    "length-and-coding": (1, chunked("/e", b"0\r\n\r\n", "Content-Length: 5")),
    "bad-chunk": (1, chunked("/e", b"1\r\nab\r\n0\r\n\r\n")),
    "preface": (1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "tls": (1, b"\x16\x03\x01\x02\x00\x01"),
    "linger": (1, b"GET /e\r\n\r\n" + b"a" * 3000),
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, (head, data) in CASES.items():
    (FOLDER / name).write_bytes(head.to_bytes(2, "little") + data)
