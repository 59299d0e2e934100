"""`workdim` whose demo measures its larger model by the protocol `LEAN`: one cloud, and a fraction of the computing."""

from __future__ import annotations

import sys
from dataclasses import replace

from core.commands.main import main
from core.records import RunConfig
from core.runs import requests
from tests.runs import small

asked = requests.demo_requests


def demo_requests() -> list[RunConfig]:
    larger, *others = asked()
    return [replace(larger, protocol=small.LEAN.name), *others]


if __name__ == "__main__":
    small.use()
    requests.demo_requests = demo_requests
    sys.exit(main())
