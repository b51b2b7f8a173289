"""Speed and memory, each figure beside a peer or a bound that is measured in the same run."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.page import show, write_page
from benchmarks.recorded import compare, record
from benchmarks.result import Options, Result

ROOT = Path(__file__).parents[1]
NAMES = ("selection", "loading", "page_order")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"of {', '.join(NAMES)}; all by default")] = None,
    short: Annotated[bool, typer.Option(help="A check of a minute; writes no page.")] = False,
    data: Annotated[
        Path | None, typer.Option(envvar="SADP_DIST_DATA", help="cifar10.zip and imagenet-sample.zip")
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(envvar="SADP_DIST_PEERS", help="checkouts of InfoBatch and SeTa, to be measured beside"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the ratios recorded in the repository.")
    ] = False,
    re_record: Annotated[
        bool, typer.Option("--record", help="Record the ratios of this run, for --check.")
    ] = False,
    result: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """See `__doc__`."""
    unknown = set(names or ()) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    options = Options(short, _folder(data, "--data"), _folder(peers, "--peers"))
    if result is not None:  # a benchmark in a process of its own
        (name,) = names or ()
        found = importlib.import_module(f"benchmarks.{name}").measure(options)
        result.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        return
    console = Console(width=max(Console().width, 120))
    results: dict[str, Result] = {}
    for name in names or NAMES:
        console.rule(title_of(name))
        results[name] = _in_its_own_process(name, options)
        show(results[name], console)
    if not short:
        folder = ROOT / "docs" / "benchmarks"
        folder.mkdir(exist_ok=True)
        for name, found in results.items():
            text = json.dumps(found.to_dict(), indent=1) + "\n"
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
        write_page(ROOT / "docs" / "benchmarks.md", folder, {name: title_of(name) for name in NAMES})
    if re_record:
        record(results)
    if check:
        raise typer.Exit(compare(results, lambda name: _in_its_own_process(name, options), console))


def title_of(name: str) -> str:
    """The first line of a benchmark's docstring, without importing what it imports."""
    first_line = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8").splitlines()[0]
    return first_line.strip('"').rstrip(".")


def _folder(path: Path | None, option: str) -> Path | None:
    if path is None or str(path) in ("", "."):
        return None
    if not path.is_dir():
        raise typer.BadParameter(f"{option}={path} is not a folder")
    return path.resolve()


def _in_its_own_process(name: str, options: Options) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "result.json")
        command = [sys.executable, "-m", "benchmarks", name, "--result", str(kept)]
        for option, value in (("--data", options.data), ("--peers", options.peers)):
            command += [option, str(value)] if value else []
        subprocess.run([*command, *(["--short"] if options.short else [])], check=True, env=os.environ)
        return Result.from_dict(json.loads(kept.read_text(encoding="utf-8")))


if __name__ == "__main__":
    app()
