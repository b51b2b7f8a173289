"""Check that every figure in the pages comes from a source, or update the figures.

    python docs/generate/measured.py           # prints what is wrong; exit status 1 if anything is
    python docs/generate/measured.py --write   # puts the sources' values into the pages

A figure is a number with a unit (%, points, s, ms, MiB, ...) or with a decimal point, outside of code. A
setting such as r = 0.5 does not count. Each figure needs one of these:

- a source, `<!-- figure: FILE > ratios > NAME > FORMAT -->2.0`, or for a cell of a table
  `<!-- figure: FILE > TITLE > ROW > COLUMN > FORMAT -->46.23`. FILE is a JSON file, relative to docs/. TITLE
  is the beginning of the table's title, ROW its first cell (or its first cells, joined by " / "), FORMAT a
  Python format. Of a cell such as "46.23 ± 0.77" the first number counts. The comment cannot begin a line,
  where Markdown would end the paragraph.
- a table with a source: `<!-- table: FILE > TITLE -->` in the line before the table.
- a sentence with a source, `<!-- said by: NAME -->It was.<!-- end -->`, from `sentence()` of
  docs/generate/NAME.py. The comment cannot begin a line.
- a declaration that the project did not measure it. For a page: `<!-- settings: 5 s; 30 s -->`; for the
  paragraph or table in the next line: `<!-- settings -->`. The kinds are `settings`, `from papers`,
  `examples` (of output) and `facts` (sizes, formats and versions of other things).

The pages that programs write (docs/benchmarks.md, the tables of faults and mistakes) are not checked.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
NOT_CHECKED = {"benchmarks.md"}

_UNIT = (
    r"%|(?:percentage )?points?\b|[mµn]?s\b|seconds?\b|min(?:utes?)?\b|h(?:ours?)?\b"
    r"|[KMG]i?B\b|bytes?\b|times\b"
)
_FIGURE = re.compile(rf"(?<![\w.,=:-])(?:\d[\d,]*(?:\.\d+)?\s?(?:{_UNIT})|(?<!= )\d[\d,]*\.\d+(?!\.?\d))")
_SOURCED = re.compile(r"<!-- figure: (?P<source>[^\n]+?) -->(?P<shown>[-+]?\d[\d,]*(?:\.\d+)?%?)")
_TABLE = re.compile(r"<!-- table: (?P<source>[^\n]+?) -->\n(?P<shown>(?:\|[^\n]*\n)+)")
_SAID = re.compile(r"<!-- said by: (?P<script>\w+) -->(?P<shown>[^\n]*?)<!-- end -->")
_KINDS = r"(?:settings|from papers|examples|facts)"
_DECLARED = re.compile(rf"<!-- {_KINDS}: (?P<figures>[^>]+?) -->")
_EXEMPT_BLOCK = re.compile(rf"<!-- {_KINDS} -->\n(?:[^\n]+(?:\n|\Z))+")
_MARK = re.compile(
    r"(?P<code>^```.*?^```$)"
    rf"|[ \t]*<!-- (?:{_KINDS}(?:: [^>]+?)?|table: [^\n]+?) -->(?:\n|\Z)"
    r"|<!-- (?:figure: [^\n]+?|said by: \w+|end) -->",
    re.M | re.S,
)
_CODE = re.compile(r"^```.*?^```$|^(?: {4}[^\n]*\n)+|``.+?``|`[^`]*`", re.M | re.S)
_WRITTEN_BY_TESTS = re.compile(
    r"<!-- the table of (?:faults|mistakes: \w+) -->.*?<!-- end of the table -->", re.S
)
_ELSEWHERE = re.compile(r"!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<!--.*?-->|<[a-z][^>]*>", re.S)


def pages() -> list[Path]:
    """Return the pages whose figures need a source."""
    written = [page for page in sorted(DOCS.glob("*.md")) if page.name not in NOT_CHECKED]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *written]


def complaints(text: str) -> Iterator[str]:
    """Yield a line for each thing that is wrong with the figures of a page."""
    for found in _SOURCED.finditer(text):
        if (right := figure(found["source"])) != found["shown"]:
            yield f"{found['shown']} should be {right}, by {found['source']}"
        if found.start() == 0 or text[found.start() - 1] == "\n":
            yield f"a figure's comment begins a line and would end the paragraph: {found['source']}"
    for found in _TABLE.finditer(text):
        if found["shown"] != table(found["source"]):
            yield f"a table differs from {found['source']}"
    for found in _SAID.finditer(text):
        if found["shown"] != (right := sentence(found["script"])):
            yield f"{found['shown']!r} should be {right!r}, by docs/generate/{found['script']}.py"
    rest = _SAID.sub(" ", _SOURCED.sub(" ", _TABLE.sub("\n", text)))
    if left := re.search(r"<!-- (figure|table|said by): .*", rest):
        yield f"nothing that can be compared follows {left[0]}"
    declared = {_plain(each) for found in _DECLARED.finditer(rest) for each in found["figures"].split(";")}
    rest = _CODE.sub(" ", _EXEMPT_BLOCK.sub("\n", _WRITTEN_BY_TESTS.sub(" ", _DECLARED.sub(" ", rest))))
    shown = {_plain(found[0]) for found in _FIGURE.finditer(_ELSEWHERE.sub(" ", rest))}
    for each in sorted(shown - declared):
        yield f"{each} has no source: name its JSON, or declare it, see docs/generate/measured.py"
    for each in sorted(declared - shown):
        yield f"{each} is declared, but the page does not have it"


def figure(source: str) -> str:
    """Return the value that a source names, as text."""
    file, *keys, form = source.split(" > ")
    return format(_number(_value(file, keys)), form)


def table(source: str) -> str:
    """Return the table that a source names, in Markdown."""
    file, title = source.split(" > ")
    found = _table(file, title)
    rule = ["---"] + ["---:"] * (len(found["columns"]) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in (found["columns"], rule, *found["rows"]))


def sentence(script: str) -> str:
    """Return the sentence of `docs/generate/SCRIPT.py`."""
    if str(DOCS / "generate") not in sys.path:
        sys.path.insert(0, str(DOCS / "generate"))
    said: str = importlib.import_module(script).sentence()
    return said


def without_marks(text: str) -> str:
    """Return a page as the site shows it, without sources and declarations outside of code."""
    return _MARK.sub(lambda found: found["code"] or "", text)


def written_anew(text: str) -> str:
    """Return a page with the current values of its sources."""
    text = _SOURCED.sub(lambda found: f"<!-- figure: {found['source']} -->{figure(found['source'])}", text)
    text = _SAID.sub(
        lambda found: f"<!-- said by: {found['script']} -->{sentence(found['script'])}<!-- end -->", text
    )
    return _TABLE.sub(lambda found: f"<!-- table: {found['source']} -->\n{table(found['source'])}", text)


def _value(file: str, keys: list[str]) -> Any:
    if keys[0] == "ratios":
        return _only([each["value"] for each in _read(file)["ratios"] if each["name"] == keys[1]], file, keys)
    title, row, column = keys
    found = _table(file, title)
    rows = [
        cells
        for cells in found["rows"]
        if row in (" / ".join(map(str, cells[:count])) for count in range(1, len(cells)))
    ]
    return _only(rows, file, keys)[found["columns"].index(column)]


def _table(file: str, title: str) -> dict[str, Any]:
    named = [each for each in _read(file)["tables"] if each["title"].startswith(title)]
    return _only(named, file, [title])


def _read(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / file).read_text(encoding="utf-8"))
    return content


def _only(found: list[Any], file: str, keys: list[str]) -> Any:
    if len(found) != 1:
        raise LookupError(
            f"docs/{file} has {len(found)} values for {' > '.join(keys)}; exactly one is needed"
        )
    return found[0]


def _number(value: Any) -> float:
    if isinstance(value, str):
        return float(value.split()[0].rstrip("*%").replace(",", ""))
    return float(value)


def _plain(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description="Check the figures in the pages against their sources.")
    parser.add_argument("--write", action="store_true", help="put the sources' values into the pages")
    write = parser.parse_args().write
    wrong = False
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if write and written_anew(text) != text:
            text = written_anew(text)
            page.write_text(text, encoding="utf-8")
        for line in complaints(text):
            print(f"{page.relative_to(ROOT)}: {line}")
            wrong = True
    sys.exit(wrong)


if __name__ == "__main__":
    main()
