"""The command line: `workdim VERB`, the verbs of the app. Heavy modules are imported only where a verb needs them."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module

from core.commands.context import fail, warn
from core.commands.verbs import build_parser
from core.errors import ResourceError, Sentence, WorkdimError
from core.locale import speaking
from core.terminal.output import WordedFormatter, guarded_output, name_warehouse, preferred_language

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 2 bad input (one clear line), 1 a failure of ours, 130 stopped by Ctrl-C."""
    with guarded_output(), speaking(preferred_language()):
        to_terminal = logging.StreamHandler()
        to_terminal.setFormatter(WordedFormatter("workdim: %(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[to_terminal])
        name_warehouse(None)
        try:
            options = build_parser().parse_args(sys.argv[1:] if arguments is None else arguments)
            name_warehouse(getattr(options, "warehouse", None))
            module, _, function = options.function.partition(".")
            code = getattr(import_module(f"core.commands.{module}"), function)(options) or 0
            sys.stdout.flush()
            return code
        except WorkdimError as error:
            return fail(error)
        except BrokenPipeError:  # the reader of the output is gone, as with `| head`
            _drop_output()
            return 0
        except OSError as error:
            _drop_output()
            return fail(ResourceError(_reason(error)))
        except MemoryError:
            return fail(ResourceError("There is not enough memory. Try a smaller model, or --dtype bfloat16."))
        except KeyboardInterrupt:
            print(file=sys.stderr)
            warn("stopped; nothing half written was kept.")
            return 130


def _reason(error: OSError) -> Sentence:
    """One line for an error of the file system."""
    what: str = str(error.filename) if error.filename else Sentence("A file")
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # for a folder: one entry for each file
        _, what, why = error.args[0][0]
        return Sentence("{what} cannot be written: {why}.", what=what, why=why)
    if error.errno in FULL:
        return Sentence("The disk is full; nothing half written was kept. Free some space, try again.")
    if error.errno == errno.EROFS:
        return Sentence("{what} cannot be written: its file system is read-only. Choose another place.", what=what)
    if isinstance(error, PermissionError):
        return Sentence("{what} may not be read or written here: check its permissions.", what=what)
    if error.errno == errno.ENAMETOOLONG:
        return Sentence("{what}... is too long a name for a file.", what=str(what)[:60])
    return Sentence("{what} cannot be read or written: {reason}.", what=what, reason=error.strerror or error)


def _drop_output() -> None:
    """Discard buffered output that cannot be written any more; otherwise Python tries to write it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
