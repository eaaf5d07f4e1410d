#!/usr/bin/env python3
"""Ceilings: a line has at most 100 columns, a file 800 lines, a function 150 lines and 6 parameters
(a kernel or a test's helper 8). clang-format holds code to the columns, but leaves comments and long
strings as they are. --report prints how much of the tree is near the others. Generated tables are
exempt."""
import re
import sys

import c_source

COLUMNS, FILE_LINES, FUNCTION_LINES, LONG_FUNCTION_LINES = 100, 800, 150, 50
PARAMETERS, KERNEL_PARAMETERS = 6, 8
# A definition in column 0: its head up to the parameters, which hold no semicolon; "{" on a line of
# its own opens the body and "}" in column 0 closes it, as clang-format leaves them. A capital name
# is a macro that makes functions.
FUNCTION = re.compile(r"^[A-Za-z_][^\n;{}=]*?\b([a-z]\w*)\(([^;{}]*)\)\n\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def functions(text):
    """Yields name, first line, number of lines, number of parameters."""
    for match in FUNCTION.finditer(c_source.blank(text)):
        parameters = re.sub(r"\([^()]*\)", "", match.group(2))
        n_parameters = 0 if parameters.strip() in ("", "void") else parameters.count(",") + 1
        first = text.count("\n", 0, match.start()) + 1
        yield match.group(1), first, match.group().count("\n") + 1, n_parameters


def main():
    problems, sizes, n_files = [], [], 0
    for path in c_source.files("src", "tests", "bench"):
        text = c_source.read(path)
        if c_source.is_generated(text):
            continue
        n_files += 1
        problems += [f"{path}:{number}: {len(line)} columns, at most {COLUMNS}"
                     for number, line in enumerate(text.split("\n"), 1) if len(line) > COLUMNS]
        if text.count("\n") > FILE_LINES:
            problems.append(f"{path}: {text.count(chr(10))} lines, at most {FILE_LINES}")
        most = KERNEL_PARAMETERS if path.parts[:2] == ("src", "kern") or path.parts[0] == "tests" else PARAMETERS
        for name, line, n_lines, n_parameters in functions(text):
            sizes.append((n_lines, f"{path}:{line}: {name}"))
            if n_lines > FUNCTION_LINES:
                problems.append(f"{path}:{line}: {name} has {n_lines} lines, at most {FUNCTION_LINES}")
            if n_parameters > most:
                problems.append(f"{path}:{line}: {name} has {n_parameters} parameters, at most {most}")
    if "--report" in sys.argv[1:]:
        n_long = sum(n > LONG_FUNCTION_LINES for n, _ in sizes)
        print(f"{n_files} files, {len(sizes)} functions, {n_long} of more than {LONG_FUNCTION_LINES} lines:")
        for n_lines, where in sorted(sizes, reverse=True)[:max(n_long, 5)]:
            print(f"{n_lines:5} {where}")
    c_source.finish(problems)


if __name__ == "__main__":
    main()
