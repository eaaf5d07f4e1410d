"""What the compilers made of the kernels whose speed hangs on it: AVX-512 products take activations as
a broadcast from memory, with gcc and clang alike, those of AVX-VNNI have the form that CPUs without
AVX-512 know, those of dense types with AVX2 keep their sums in registers, and those of aarch64's matrix
instructions take activations as they lie, with nothing of a loop put on the stack. Attention keeps its
sums in registers."""
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
AVXVNNI = ["matmul_q32_avxvnni.o", "matmul_q256_avxvnni.o"]
AVX512 = ["matmul_q32_avx512.o", "matmul_q256_avx512.o"]
# (Q5_K's panels are Q4_K's to a compiler that merges equal functions.)
I8MM = {"matmul_q32_i8mm.o": ["q4_0_1x", "q4_1_1x", "q5_0_1x", "q5_1_1x", "q8_0_1x", "iq4_nl_1x"],
        "matmul_q256_i8mm.o": ["q2_k_panel_", "q3_k_panel_", "q4_k_panel_", "q6_k_panel_", "iq4_xs_panel_"]}


def functions(build, name, objdump="objdump"):
    """Of every function the instructions, as (address, text)."""
    path = ROOT / "build" / build / "src/kern" / name
    if not path.exists():
        pytest.skip(f"no {path.relative_to(ROOT)}: another CPU, or not built")
    if shutil.which(objdump) is None:
        pytest.skip(f"no {objdump}")
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    found = {}
    for function, body in re.findall(r"^[0-9a-f]+ <(\w+)>:\n((?:.+\n)*)", text, re.MULTILINE):
        found[function] = [(int(address, 16), code.strip()) for address, code in
                           re.findall(r"^\s*([0-9a-f]+):\t(.*)$", body, re.MULTILINE)]
    return found


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("name", AVX512)
def test_products_broadcast_activations_from_memory(build, name):
    code = [text for body in functions(build, name).values() for _, text in body]
    products = [i for i in code if i.startswith("vpdpbusd")]
    assert len(products) > 1000
    assert all(re.search(r"\(.*\)\{1to16\}", i) for i in products)


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("name", AVXVNNI)
def test_products_of_avxvnni_need_no_avx512(build, name):
    code = [text for body in functions(build, name).values() for _, text in body]
    products = [i for i in code if "vpdp" in i]
    assert sum("vpdpbusd" in i for i in products) > 500
    assert all(re.match(r"\{vex\} vpdp(busd|wssd) ", i) for i in products)
    assert not any("vpmaddubsw" in i for i in code)
    assert not any(re.search(r"%zmm|%[xy]mm(1[6-9]|2\d|3[01])\b|%k[0-7]", i) for i in code)


def innermost_loops(body):
    """The instructions of the loops that hold no other."""
    loops = []
    for address, text in body:
        jump = re.match(r"(?:j\w+|b|b\.\w+|cbn?z\s+\w+,)\s+([0-9a-f]+) <", text)
        if jump and int(jump.group(1), 16) <= address:
            loops.append((int(jump.group(1), 16), address))
    for begin, end in loops:
        if not any((begin, end) != other and begin <= other[0] and other[1] <= end for other in loops):
            yield [text for address, text in body if begin <= address <= end]


# Products of 256 items: of two groups by two digits, or by one.
@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("kind, n_products", [("q2_k", 8), ("q3_k", 8), ("q4_k", 16), ("q5_k", 16), ("q6_k", 16)])
def test_a_panel_is_multiplied_by_tiles_with_its_scales_in_registers(build, kind, n_products):
    code = functions(build, "matmul_q256_amx.o")
    loops = [loop for loop in innermost_loops(code[f"{kind}_many"])
             if sum(i.startswith("tdpbssd") for i in loop) == n_products]
    assert loops
    for loop in loops:
        assert not any(re.match(r"vmov\w+ .*\),%zmm", i) for i in loop)


@pytest.mark.parametrize("name", I8MM)
def test_a_tile_is_multiplied_by_smmla_and_fits_the_registers(name):
    code = functions("aarch64", name, "aarch64-linux-gnu-objdump")
    for kernel in I8MM[name]:
        loops = [loop for loop in innermost_loops(code[f"{kernel}12"])
                 if any(i.startswith("smmla") for i in loop)]
        assert loops, kernel
        for loop in loops:
            # 6 pairs of tokens by 2 pairs of rows, 8 items a time
            assert sum(i.startswith("smmla") for i in loop) == 48, kernel
            assert not any(i.startswith("sdot") for i in loop), kernel
            assert not any(re.match(r"(st|ld)\S+\s+q\d+.*\[(sp|x29)\b", i) for i in loop), kernel


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("n_tokens", [4, 5, 6])
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_sums_of_dense_types_stay_in_registers_with_avx2(build, kind, n_tokens):
    code = functions(build, "matmul_dense_avx2.o")
    loops = [loop for loop in innermost_loops(code[f"{kind}_1x{n_tokens}"])
             if any("vfmadd" in i for i in loop)]
    assert loops
    for loop in loops:
        # two items by two halves of a group
        assert sum("vfmadd" in i for i in loop) % (4 * n_tokens) == 0
        assert not any("%ymm" in i and re.search(r"\(%r[sb]p\)", i) for i in loop)


SHAPES_AVX2 = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (1, 2), (2, 2)]
# clang moves sums about where they nearly fill the registers: without 6 by 4.
SHAPES_AVX512 = [(rows, groups) for rows in range(1, 7) for groups in range(1, 5) if rows + groups < 10]


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("name, kernel, product, per_group, shapes", [
    ("attend_avx2.o", "multiply_Q16_", "vpmaddwd", 2, SHAPES_AVX2),
    ("attend_avx2.o", "multiply_Q8_0_", "vpmaddwd", 2, SHAPES_AVX2),
    ("attend_f16_avx2.o", "multiply_", "vfmadd", 2, SHAPES_AVX2),
    ("attend_avx512.o", "multiply_Q16_", "vpdpwssd", 1, SHAPES_AVX512),
    ("attend_avx512.o", "multiply_Q8_0_", "vpdpwssd", 1, SHAPES_AVX512),
    ("attend_f16_avx512.o", "multiply_", "vfmadd", 1, SHAPES_AVX512)])
def test_sums_of_attention_stay_in_registers(build, name, kernel, product, per_group, shapes):
    code = functions(build, name)
    for rows, groups in shapes:
        loops = [loop for loop in innermost_loops(code[f"{kernel}{rows}x{groups}"])
                 if any(i.startswith(product) for i in loop)]
        assert loops
        # the next tile is asked for meanwhile (here or there behind the loop, which jumps out for it)
        assert sum(text.startswith("prefetch") for _, text in code[f"{kernel}{rows}x{groups}"]) == groups
        for loop in loops:
            assert sum(i.startswith(product) for i in loop) % (rows * groups * per_group) == 0
            assert not any(re.search(r"%[yz]mm", i) and re.search(r"\(%r[sb]p", i) for i in loop)
            assert not any(re.match(r"vmov\S+ %[yz]mm\d+,.*\(", i) for i in loop)


@pytest.mark.parametrize("build", ["release", "clang"])
@pytest.mark.parametrize("name", ["attend_avx2.o", "attend_f16_avx2.o"])
def test_the_next_tile_is_asked_for_in_the_weights_with_avx2(build, name):
    assert any(i.startswith("prefetch") for kernel, body in functions(build, name).items()
               if not kernel.startswith("multiply_") for loop in innermost_loops(body) for i in loop)
