"""Where the tests find the program: $PUNA, or the release build of this tree."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PUNA = os.environ.get("PUNA", str(ROOT / "build/release/puna"))
