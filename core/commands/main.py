"""`python -m core ...`: the same verbs as the app. Heavy parts are imported where a verb needs them."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Sequence

from core.commands.context import fail
from core.commands.parser import parser
from core.errors import ResourceError, WorkdimError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input (one clear line), 1 a failure of ours, 130 stopped by Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="workdim: %(message)s")
    for stream in (sys.stdout, sys.stderr):  # a Windows console may default to a code page without our signs
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except WorkdimError as error:
        return fail(error)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
            return fail(ResourceError("The disk is full; nothing half written was kept. Free some space, try again."))
        if isinstance(error, PermissionError) and error.filename:
            return fail(ResourceError(f"{error.filename} may not be read or written here: check its permissions."))
        raise
    except MemoryError:
        return fail(ResourceError("There is not enough memory. Try a smaller model, or --dtype bfloat16."))
    except KeyboardInterrupt:
        print("\nworkdim: stopped; nothing half written was kept.", file=sys.stderr)
        return 130
