#!/usr/bin/env python3
"""Writes the hand-made part of tests/fuzz/corpus/http_head: requests as clients send them, and the ways in
which they can be wrong."""
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "corpus/http_head"
HEAD = b"GET /v1/models/a%2Fb?c=d HTTP/1.1\r\nHost: a:80\r\n"
POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

CASES = {
    "get": HEAD + b"Accept: */*\r\nConnection: close\r\n\r\n",
    "post": POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    "chunked": CHUNKED + b"3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
    "chunks-alone": b"3\r\nabc\r\n0\r\n\r\nGET /",
    "absolute": b"OPTIONS http://a.example/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n",
    "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "line-feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "carriage-return": HEAD + b"X: a\rb\r\n\r\n",
    "nul": HEAD + b"X: a\0b\r\n\r\n",
    "nul-encoded": b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "cut-percent": b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "not-utf8": b"GET /%ff%C3 HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank-colon": HEAD + b"X : a\r\n\r\n",
    "fold": HEAD + b"X: a\r\n b\r\n\r\n",
    "two-lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length-and-coding": POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "huge-length": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "huge-chunk": CHUNKED + b"ffffffffffffffffff\r\n",
    "long-chunk": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "long-target": b"GET /" + b"a" * 600 + b" HTTP/1.1\r\n\r\n",
    "long-field": HEAD + b"X: " + b"a" * 2100 + b"\r\n\r\n",
    "many-fields": HEAD + b"X:\r\n" * 101 + b"\r\n",
    "bearer": HEAD + b"Authorization: Bearer sk-puna-0123456789ab-" + b"0123456789abcdef" * 4 + b"\r\n\r\n",
    "bearer-alone": b"bearer  ek-puna-0123456789ab-" + b"0123456789abcdef" * 4,
    "secret-cut": b"Bearer sk-puna-0123456789ab-" + b"0" * 63,
    "empty-line": b"\r\n" + HEAD + b"\r\n",
    "content-coding": POST + b"Content-Encoding: identity,, gzip\r\nContent-Encoding:\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01",
    "empty": b"",
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
