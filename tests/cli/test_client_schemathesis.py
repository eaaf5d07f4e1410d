"""Every address of /openapi.json as Schemathesis meets it: thousands of requests made from the schemas, and
others that break them in one place. What the schema allows is accepted and answered in the form that the
schema says, events of streams as well; what it forbids is refused. The same requests in every run."""
import os
import pathlib
import subprocess
import sys

from puna_server import PUNA, serving

HERE = pathlib.Path(__file__).parent
TINY = pathlib.Path(PUNA).parent / "tests/tiny.gguf"
PROGRAM = pathlib.Path(sys.executable).with_name("schemathesis")
EXAMPLES = 20  # of an address and a phase


def test_server_and_schema_agree(tmp_path):
    with serving(TINY) as server:
        done = subprocess.run(
            [PROGRAM, "--config-file", HERE / "schemathesis.toml", "run", server.url + "/openapi.json",
             "--generation-deterministic", "--max-examples", str(EXAMPLES), "--request-timeout", "60",
             "--continue-on-failure", "--no-color", "--output-sanitize", "false"],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"},
            capture_output=True, text=True, timeout=500, check=False)
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        assert "generated, 0 found" in done.stdout or "No issues found" in done.stdout
