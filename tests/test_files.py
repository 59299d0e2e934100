"""Files that people name: what has no end or no beginning is refused before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import InputError
from core.files import read_whole


def test_only_regular_files_are_opened_and_their_size_is_looked_at_first(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"12345")
    assert read_whole(good) == b"12345"
    with pytest.raises(InputError, match=r"good has 1 MiB; at most 0 are read\. Take a part\."):
        read_whole(good, most=4)
    with pytest.raises(InputError, match="There is no file .*none"):
        read_whole(tmp_path / "none")
    with pytest.raises(InputError, match="no regular file but a folder"):
        read_whole(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_whole(Path("a\0b"))


@pytest.mark.skipif(os.name == "nt", reason="there are none")
def test_devices_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match="no regular file but a device or pipe"):
            read_whole(endless)
