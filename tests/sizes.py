"""How large each room of core is; `python -m tests.sizes` prints the table that `tests/test_imports.py` holds."""

from __future__ import annotations

import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

CORE = Path(__file__).resolve().parents[1] / "core"
_NOT_COUNTED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
SLACK = 1.01


def sizes() -> dict[str, tuple[int, int]]:
    """Lines and tokens of each room, docstrings counted; templates and tables have lines only."""
    lines: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for path in sorted(CORE.rglob("*")):
        if path.suffix not in (".py", ".toml", ".html", ".css", ".svg"):
            continue
        room = path.relative_to(CORE).parts[0].removesuffix(".py")
        lines[room] += len(path.read_text(encoding="utf-8").splitlines())
        if path.suffix == ".py":
            with path.open("rb") as file:
                tokens[room] += n_tokens(tokenize.tokenize(file.readline))
    return {room: (lines[room], tokens[room]) for room in sorted(lines)}


def n_tokens(found: Iterable[tokenize.TokenInfo]) -> int:
    """An f-string is one token, as before Python 3.12, which takes it apart."""
    n = depth = 0
    for token in found:
        kind = tokenize.tok_name[token.type]
        depth -= kind == "FSTRING_END"
        n += depth == 0 and token.type not in _NOT_COUNTED and kind != "FSTRING_END"
        depth += kind == "FSTRING_START"
    return n


if __name__ == "__main__":
    found = sizes()
    for room, (n_lines, n_tokens) in found.items():
        print(f'    "{room}": ({round(SLACK * n_lines)}, {round(SLACK * n_tokens)}),')
    print(f"# in all {sum(n for n, _ in found.values())} lines, {sum(n for _, n in found.values())} tokens")
