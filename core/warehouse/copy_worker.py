"""The process behind connection.copy_file: copies a DuckDB file and its write-ahead log, byte for byte, to the disk.

It is a process of its own because closing a plain handle of the file would drop the locks that DuckDB has on it in the
process that closes it. Run as a script on `SOURCE TARGET`, without the rest of Workdim: it starts in 20 ms.
"""

from __future__ import annotations

import os
import shutil
import sys

NO_COPY = 3
"""Exit code where the copy failed; the reason is on standard error."""


def main(source: str, target: str) -> int:
    written = []
    try:
        for name in (".wal", ""):
            if name and not os.path.exists(source + name):
                continue
            written.append(target + name)
            with open(source + name, "rb") as read, open(target + name, "wb") as write:
                shutil.copyfileobj(read, write, 2**20)
                write.flush()
                os.fsync(write.fileno())
    except OSError as error:
        for file in written:
            if os.path.exists(file):
                os.unlink(file)
        sys.stderr.write(error.strerror or str(error))
        return NO_COPY
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
