"""What the compilers made of the AVX-512 kernels: the products take their activations as a broadcast
from memory, with gcc and clang alike."""
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ["matmul_q32_avx512.o", "matmul_q256_avx512.o"]


def instructions(build, name):
    path = ROOT / "build" / build / "src/kern" / name
    if not path.exists():
        pytest.skip(f"no {path.relative_to(ROOT)}: another CPU, or not built")
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    return [line.split("\t", 1)[1].strip() for line in text.splitlines() if "\t" in line]


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("name", FILES)
def test_products_broadcast_activations_from_memory(build, name):
    code = instructions(build, name)
    products = [i for i in code if i.startswith("vpdpbusd")]
    assert len(products) > 1000
    assert all(re.search(r"\(.*\)\{1to16\}", i) for i in products)
