"""`python -m tests`: linter, formatter, type checker and all tests, one after the other; stops at the first failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("pytest",))


def main(arguments: list[str]) -> int:
    for step in STEPS:
        extra = arguments if step[0] == "pytest" else []
        print(f"== {' '.join([*step, *extra])}", flush=True)
        code = subprocess.run([sys.executable, "-m", *step, *extra], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
