"""The command `workdim`, which is `python -m core`."""

import sys


def main() -> int:
    """Run the verb that was asked for; returns the exit code. A missing package is one line, not a traceback."""
    try:
        from core.commands.main import main as run

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "core").partition(".")[0] == "core":
            raise
        print(
            f"workdim: the package {error.name} is missing in {sys.executable}. "
            "`.venv/bin/python -m pip install -r requirements.txt` brings it; then run `.venv/bin/workdim`.",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
