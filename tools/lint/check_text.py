#!/usr/bin/env python3
"""Text of the whole tree: no path of one machine, no host of a package registry, no address of a
site that is not on the list, no trailing white space, a newline at the end."""
import os
import re
import subprocess

import c_source

# Folders of people's machines. System folders that every Debian has are no matter.
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(?:work|root|home|Users|mnt)/[\w.]")
URL_HOST = re.compile(r"https?://([\w.-]+)")
KNOWN_HOSTS = {"www.apache.org", "www.unicode.org", "keepachangelog.com", "semver.org", "arxiv.org",
               "github.com", "git-lfs", "git-lfs.github.com", "localhost", "127.0.0.1"}
TEXT_ENDINGS = {".c", ".h", ".py", ".md", ".txt", ".json", ".1", ".yml", ".jinja", ".mjs", ".sh", ""}


def tracked_files():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=c_source.ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted(set(out.splitlines())):
        path = c_source.ROOT / name
        if path.is_file() and path.suffix in TEXT_ENDINGS and not name.startswith(
                ("tests/fuzz/corpus/", "tests/golden/")):
            yield name


def registry_hosts():
    """Hosts that this machine's package clients are set up for."""
    values = [os.environ.get("PIP_INDEX_URL", "")]
    for command in (["pip", "config", "list"], ["npm", "config", "get", "registry"]):
        try:
            values.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        except OSError:
            pass
    return set(URL_HOST.findall(" ".join(values)))


def check_file(name, hosts):
    try:
        text = c_source.read(name)
    except UnicodeDecodeError:
        yield f"{name}: not UTF-8"
        return
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}:{number}"
        if line != line.rstrip() or "\r" in line:
            yield f"{where}: trailing white space"
        if MACHINE_PATH.search(line) and name != "tools/lint/check_text.py":
            yield f"{where}: a path of one machine: {line.strip()[:80]}"
        for host in URL_HOST.findall(line):
            if host not in KNOWN_HOSTS and not host.endswith(".example") and name != "LICENSE":
                yield f"{where}: the host '{host}' is not in KNOWN_HOSTS of tools/lint/check_text.py"
        for host in hosts:
            if host in line:
                yield f"{where}: the host of a package registry: {host}"


def main():
    hosts = registry_hosts()
    c_source.finish([p for name in tracked_files() for p in check_file(name, hosts)])


if __name__ == "__main__":
    main()
