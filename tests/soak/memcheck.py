#!/usr/bin/env python3
"""A server under valgrind's memcheck: start, a request of each kind, one whose client leaves, end. No error, no block lost.
Kernels are those of AVX2: valgrind 3.19 knows no AVX-512. Exit code 77 where there is no valgrind."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("PUNA", "build/release/puna")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from target import ASKED, MODEL, NAMES, NO_STORE, PATIENCE_S, PUNA, Target, raw_request  # noqa: E402

FLAGS = ["--leak-check=full", "--show-leak-kinds=definite,indirect,possible", "--errors-for-leak-kinds=definite,indirect,possible",
         "--error-exitcode=9", "--num-callers=30"]


def main():
    if shutil.which("valgrind") is None:
        print("no valgrind here")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        store = pathlib.Path(folder) / "store.db"
        secret = subprocess.run([PUNA, "keys", "add", "--store", store], check=True, capture_output=True, text=True).stdout.strip()
        process = subprocess.Popen(["valgrind", *FLAGS, PUNA, "serve", "--cpu", "avx2", "--port", "0", "--log", "none", "-t", "2",
                                    "-c", "512", "--parallel", "2", "--store", store, "--prefix-dir", f"{folder}/prefixes", MODEL],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | NO_STORE)
        try:
            line = process.stdout.readline()
            t = Target.__new__(Target)
            t.address, t.context, t.key, t.process = ("127.0.0.1", int(re.search(r":(\d+)\n", line)[1])), None, secret, process
            answers = [t.request(i, timeout=10 * PATIENCE_S) for i in range(len(ASKED))]
            with t.connect() as s:
                s.sendall(raw_request(NAMES.index("chat stream"), f"Authorization: Bearer {secret}\r\n"))
                s.recv(100)
            process.terminate()
            _, said = process.communicate(timeout=10 * PATIENCE_S)
        finally:
            process.kill()
    statuses = [a.status for a in answers]
    print(said[said.find("LEAK SUMMARY") - 200:] if process.returncode == 0 else said)
    assert None not in statuses and max(statuses) < 500 and statuses.count(200) == len(ASKED) - 4, statuses
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
