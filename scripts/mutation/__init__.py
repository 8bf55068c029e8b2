"""What the scripts that try mutations share."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target/mutants"


def say(text):
    print(text, flush=True)
