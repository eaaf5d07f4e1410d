"""`puna run --schema` and `--grammar`: answers are of the form, and a file that is none says why."""
import json
import os
import subprocess

import jsonschema_rs
import pytest

PUNA = os.path.abspath(os.environ.get("PUNA", "build/release/puna"))
TINY = os.path.abspath("build/tiny.gguf")
SCHEMA = {"type": "object", "properties": {
    "kind": {"enum": ["llama", "alpaca"]}, "age": {"type": "integer", "minimum": 0, "maximum": 30},
    "names": {"type": "array", "items": {"type": "string", "maxLength": 8}, "minItems": 1, "maxItems": 2}},
    "required": ["kind", "age", "names"], "additionalProperties": False}


def run(*args):
    done = subprocess.run([PUNA, "run", "--raw", "-p", "a llama", *map(str, args), TINY], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path):
    def write(text, name="form"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path
    return write


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_is_json_of_the_schema_whatever_the_model_would_say(file, seed):
    code, text, error = run("--schema", file(SCHEMA), "--seed", seed, "--temp", seed % 3, "--top-k", 0, "--top-p", 1, "--min-p", 0)
    assert (code, error) == (0, "")
    jsonschema_rs.validate(SCHEMA, json.loads(text))


def test_an_answer_is_a_text_of_the_grammar(file):
    grammar = file('root ::= word (", " word)* "."\nword ::= [a-c]{2,3}\n')
    for seed in range(5):
        code, text, error = run("--grammar", grammar, "--seed", seed, "--temp", 2, "-n", 200)
        assert code == 0 and ("cut after" in error or (error == "" and text.endswith(".\n")))
        words = text.rstrip("\n").rstrip(".").split(", ")
        assert all(set(w) <= set("abc") for w in words) and all(2 <= len(w) <= 3 for w in words[:-1])


def test_a_text_that_is_cut_is_said_to_be_a_beginning(file):
    code, text, error = run("--schema", file(SCHEMA), "-n", 3)
    assert code == 0 and text.startswith("{") and "cut after 3 tokens" in error and error.count("\n") == 1


def test_guesses_and_threads_change_no_byte(file):
    answers = {run("--schema", file(SCHEMA), "--seed", 3, *more) for more in ((), ("--draft-max", 0), ("-t", 1))}
    assert len(answers) == 1


def test_what_of_a_schema_has_no_effect_is_told_beside_the_answer(file):
    schema = SCHEMA | {"faker": 1, "properties": SCHEMA["properties"] | {"kind": {"const": "llama", "\x1b[31m": 1}}}
    path = file(schema)
    code, text, error = run("--schema", path)
    assert code == 0 and error.splitlines() == [
        f"puna run: warning: option --schema: {path}: schema {where}: '{name}' is no keyword of JSON Schema and has no effect"
        for where, name in (("#", "faker"), ("#/properties/kind", "\\x1b[31m"))]
    jsonschema_rs.validate(schema, json.loads(text))


@pytest.mark.parametrize("option,text,more,says", [
    ("--schema", "{", (), "not JSON: line 1"),
    ("--schema", '{"a": 1, "a": 2}', (), "duplicate"),
    ("--schema", '{\n"maximum": 9223372036854775808}', (),
     "not JSON: line 2, column 30: an integer is not within -9223372036854775808 to 9223372036854775807"),
    ("--schema", '{"type": "strin"}', (), "type"),
    ("--schema", '{"unevaluatedItems": false}', (), "unevaluatedItems"),
    ("--schema", '{"minitems": 1}', (), "did you mean 'minItems'?"),
    ("--schema", '{"type": "object", "properties": {"x": {"not": {}}}, "required": ["x"]}', (), ""),
    ("--grammar", "root := x", (), "line 1"),
    ("--grammar", 'root ::= "a" other', (), "other"),
    ("--grammar", 'root ::= root "a"', (), "root"),
    ("--grammar", "", (), ""),
    ("--schema", "{}", ("--ignore-eos",), "--schema with --ignore-eos"),
])
def test_what_is_no_form_says_why(file, option, text, more, says):
    code, out, error = run(option, file(text), *more)
    assert (code, out) == (2, "") and error.startswith("puna run: ") and error.count("\n") == 1 and says in error


def test_a_file_that_is_not_there_and_two_forms(file, tmp_path):
    assert run("--schema", tmp_path / "none")[0] == 3
    code, _, error = run("--schema", file("{}"), "--grammar", file('root ::= "a"', "g"))
    assert code == 2 and "an answer has one format" in error
