"""Measure speed and memory, compared with other programs or bounds in the same run."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.page import show, write_page
from benchmarks.recorded import TRIES, compare, record
from benchmarks.result import Measure, Options, Result
from sadp_dist.errors import UsageError

ROOT = Path(__file__).parents[1]
NAMES = (
    "selection",
    "planning",
    "weighted_draws",
    "loading",
    "page_order",
    "scoring_step",
    "pruner_step",
    "gradient_norms",
    "epoch_time",
    "training_memory",
    "time_steps_memory",
    "time_to_accuracy",
    "store",
    "service",
    "training_thread",
    "questions",
    "soak",
    "cluster_model",
)

SHORT = (
    "selection",
    "loading",
    "page_order",
    "scoring_step",
    "pruner_step",
    "store",
    "service",
    "training_thread",
)
"""The benchmarks of a short run without names: those that finish within a minute."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(NAMES)}; default: all")
    ] = None,
    short: Annotated[
        bool, typer.Option(help=f"Run those that finish within a minute ({', '.join(SHORT)}); write no page.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(envvar="SADP_DIST_DATA", help="Folder with cifar10.zip and imagenet-sample.zip."),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            envvar="SADP_DIST_PEERS", help="Folder with checkouts of InfoBatch and SeTa, to compare with."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Git revision that `planning` compares with.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the ratios recorded in the repository.")
    ] = False,
    re_record: Annotated[
        bool, typer.Option("--record", help=f"Record the ratios, medians of {TRIES} runs, for --check.")
    ] = False,
    result: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """See `__doc__`."""
    unknown = set(names or ()) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if check and re_record:
        raise typer.BadParameter("--check and --record exclude each other; pass one of them")
    if (check or re_record) and not short:
        raise typer.BadParameter("--check and --record compare short runs; add --short")
    options = Options(short, _folder(data, "--data"), _folder(peers, "--peers"), against)
    if result is not None:  # this process runs one benchmark
        (name,) = names or ()
        _keep(_measure(name, options), result)
        return
    console = Console(width=max(Console().width, 120))
    results: dict[str, Result] = {}
    for name in names or (SHORT if short else NAMES):
        console.rule(title_of(name))
        results[name] = _in_its_own_process(name, options)
        show(results[name], console)
        if not short:
            _publish(name, results[name])
    if re_record:
        others = [{name: _in_its_own_process(name, options) for name in results} for _ in range(1, TRIES)]
        record({name: [found, *(runs[name] for runs in others)] for name, found in results.items()})
    if check:
        raise typer.Exit(compare(results, lambda name: _in_its_own_process(name, options), console))


def description_of(name: str) -> str:
    """Return a benchmark's docstring without importing it."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def title_of(name: str) -> str:
    """Return the first line of a benchmark's docstring."""
    return description_of(name).partition("\n")[0].rstrip(".")


def _folder(path: Path | None, option: str) -> Path | None:
    if path is None or str(path) in ("", "."):
        return None
    if not path.is_dir():
        raise typer.BadParameter(f"{option}={path} is not a folder")
    return path.resolve()


def _measure(name: str, options: Options) -> Result:
    measure: Measure = importlib.import_module(f"benchmarks.{name}").measure
    try:
        return measure(options)
    except UsageError as error:  # something is missing on this machine
        print(f"benchmarks: {name}: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _in_its_own_process(name: str, options: Options) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "result.json")
        command = [sys.executable, "-m", "benchmarks", name, "--result", str(kept)]
        for option, value in (
            ("--data", options.data),
            ("--peers", options.peers),
            ("--against", options.against),
        ):
            command += [option, str(value)] if value else []
        status = subprocess.run([*command, *(["--short"] if options.short else [])]).returncode
        if status:  # the benchmark printed the reason
            raise typer.Exit(status if status > 0 else 1)
        return Result.from_dict(json.loads(kept.read_text(encoding="utf-8")))


def _publish(name: str, found: Result) -> None:
    """Save a full run's result, and write the page of all saved results."""
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(exist_ok=True)
    _keep(found, folder / f"{name}.json")
    write_page(folder.with_suffix(".md"), folder, {name: description_of(name) for name in NAMES})


def _keep(found: Result, path: Path) -> None:
    path.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
