"""Formats of JSON Schema, as the RFCs that it names define them, for comparisons that ask whether a text is one: a
FormatChecker for the Python package jsonschema.

The package's own checkers stay for ipv4, ipv6 (Python's ipaddress) and uuid. The others are replaced, as those of jsonschema
are looser (email: any text with an @), look for packages that may not be there (date-time, time, hostname, uri, duration,
json-pointer: without them every text is valid), or follow the interpreter (date: YYYYMMDD is one for Python). Here, too,
some is looser than an RFC: a second 60 is one at any minute, and a host that is a number (1.2.3) is a name."""
import datetime
import re

import jsonschema

CHECKER = jsonschema.FormatChecker(["ipv4", "ipv6", "uuid"])

TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"  # RFC 3339, 5.6
DATE = r"\d{4}-\d\d-\d\d"
# RFC 3339, appendix A
DUR_TIME = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
DURATION = rf"P(?:(?:\d+D|\d+M(?:\d+D)?|\d+Y(?:\d+M(?:\d+D)?)?)(?:{DUR_TIME})?|{DUR_TIME}|\d+W)"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123, 2.1; RFC 1034, 3.1
HOSTNAME = rf"{LABEL}(?:\.{LABEL})*"
ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"  # RFC 5321, 4.1.2 and 4.5.3.1; no quoted names, no literals in brackets
EMAIL = rf"{ATEXT}+(?:\.{ATEXT}+)*@{HOSTNAME}"
# RFC 3986, appendix A
PCT, UNRESERVED, SUB = "%[0-9A-Fa-f]{2}", r"A-Za-z0-9\-._~", r"!$&'()*+,;="
PCHAR = rf"(?:[{UNRESERVED}{SUB}:@]|{PCT})"
AUTHORITY = (rf"(?:(?:[{UNRESERVED}{SUB}:]|{PCT})*@)?(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[{UNRESERVED}{SUB}:]+\]|"
             rf"(?:[{UNRESERVED}{SUB}]|{PCT})*)(?::\d*)?")
SEGMENTS = rf"(?:/{PCHAR}*)*"
TAIL = rf"(?:\?(?:{PCHAR}|[/?])*)?(?:#(?:{PCHAR}|[/?])*)?"
ROOTED = rf"//{AUTHORITY}{SEGMENTS}|/(?:{PCHAR}+{SEGMENTS})?"
URI = rf"[A-Za-z][A-Za-z0-9+.\-]*:(?:{ROOTED}|{PCHAR}+{SEGMENTS}|){TAIL}"
REFERENCE = rf"{URI}|(?:{ROOTED}|(?:[{UNRESERVED}{SUB}@]|{PCT})+{SEGMENTS}|){TAIL}"
POINTER = r"(?:/(?:[^/~]|~[01])*)*"  # RFC 6901, 3

PATTERNS = {"date": DATE, "time": TIME, "date-time": rf"{DATE}[Tt]{TIME}", "duration": DURATION, "hostname": HOSTNAME, "email": EMAIL,
            "uri": URI, "uri-reference": REFERENCE, "json-pointer": POINTER, "relative-json-pointer": rf"(?:0|[1-9]\d*)(?:#|{POINTER})"}
NAMES = [*PATTERNS, "uuid", "ipv4", "ipv6"]


def is_day(text):
    try:
        return bool(datetime.date(int(text[:4]), int(text[5:7]), int(text[8:10])))
    except ValueError:
        return False


FURTHER = {"date": is_day, "date-time": is_day, "hostname": lambda text: len(text) <= 253,
           "email": lambda text: len(text) <= 254 and text.index("@") <= 64}


def check(name):
    compiled = re.compile(PATTERNS[name], re.ASCII | re.DOTALL)

    def judge(value):
        return not isinstance(value, str) or (compiled.fullmatch(value) is not None and FURTHER.get(name, lambda _: True)(value))
    return judge


for format_name in PATTERNS:
    CHECKER.checks(format_name)(check(format_name))
