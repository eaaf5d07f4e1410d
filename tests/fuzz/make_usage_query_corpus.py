#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/usage_query: queries about usage, good and bent (see fuzz_usage_query.c)."""
import pathlib

OUT = pathlib.Path(__file__).resolve().parent / "corpus/usage_query"
START = b"start_time=1795694400"


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    files = {
        "least": START,
        "all": START + b"&end_time=1795780800&bucket_width=1m&limit=1440&api_key_ids[]=0123456789ab&"
               b"api_key_ids[]=ba9876543210&models=tiny&models=a%20b+c&group_by[]=model&group_by[]=api_key_id&"
               b"group_by%5B%5D=batch&batch=false&page=page_1795694460",
        "hours": START + b"&bucket_width=1h&end_time=1795700000",
        "first-second": b"start_time=0&end_time=1",
        "last-second": b"start_time=999999999998&end_time=999999999999&bucket_width=1m",
        "long-ago": b"start_time=0&limit=31",
        "empty": b"",
        "ampersands": b"&&&" + START + b"&",
        "no-value": b"start_time",
        "no-name": b"=5&" + START,
        "twice": START + b"&" + START,
        "minus": b"start_time=-1",
        "too-long": b"start_time=" + b"9" * 40,
        "end-first": START + b"&end_time=1",
        "list-of-one": b"start_time[]=5",
        "brackets": b"[]=5",
        "index": START + b"&models[0]=a",
        "cut-percent": START + b"&models=%4",
        "bad-percent": START + b"&models=%zz",
        "percent-name": b"%zz=1",
        "nul": START + b"&models=%00",
        "not-utf8": START + b"&models=%ff&%ff=1",
        "projects": START + b"&project_ids=a",
        "group-user": START + b"&group_by=user_id",
        "other-page": START + b"&page=page_1795694401",
        "bare-page": START + b"&page=1795780800",
        "many": START + b"&models=a" * 101,
        "limit-0": START + b"&limit=0",
        "limit-32": START + b"&limit=32",
    }
    for name, data in files.items():
        (OUT / name).write_bytes(data)


if __name__ == "__main__":
    main()
