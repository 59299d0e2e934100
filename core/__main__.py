import sys

try:
    from core.cli import main

    sys.exit(main())
except ModuleNotFoundError as error:
    if (error.name or "core").partition(".")[0] == "core":
        raise
    print(
        f"workdim: the package {error.name} is missing in {sys.executable}. Run `.venv/bin/python -m core ...` after "
        "`.venv/bin/python -m pip install -r requirements.txt`.",
        file=sys.stderr,
    )
    sys.exit(2)
