"""`python -m core` and the command `workdim`."""

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
            f"workdim: the package {error.name} is missing in {sys.executable}. Run `.venv/bin/python -m core ...` "
            "after `.venv/bin/python -m pip install -r requirements.txt`.",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
