"""The code in the documents runs.

The Python blocks of a document run in their order, in one namespace. Its shell blocks run in a folder with
the repository's files. A comment before a block excludes it: `<!-- not run: REASON -->` or `<!-- run by
tests/FILE.py -->`. A `text` block right after a shell block is a part of its output. Every shell block is
valid bash, and the options and configurations of every `sadp-dist` line in it exist.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import yaml
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from sadp_dist.cli.main import app
from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config
from sadp_dist.training.stages import load_stages
from tests.forked_commands import ForkedCommands
from tests.ports import free_port
from tests.store.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```sh\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<output>.*?)^```$)?",
    re.M | re.S,
)


@dataclass
class ShellBlock:
    document: Path
    line: int
    mark: str | None
    code: str
    output: str

    @property
    def runs_here(self) -> bool:
        return not (self.mark or "").startswith(("not run: ", "run by "))

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def shell_blocks(document: Path) -> list[ShellBlock]:
    text = document.read_text(encoding="utf-8")
    return [
        ShellBlock(
            document,
            text.count("\n", 0, found.start()) + 1,
            found["mark"],
            found["code"],
            found["output"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


SHELL_BLOCKS = [block for document in DOCUMENTS for block in shell_blocks(document)]


def names(documents: list[Path]) -> list[str]:
    return [str(document.relative_to(ROOT / "docs")) for document in documents]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


WITH_PYTHON = [document for document in DOCUMENTS if "```python" in document.read_text(encoding="utf-8")]


@pytest.mark.usefixtures("registries_restored")
@pytest.mark.parametrize("document", WITH_PYTHON, ids=names(WITH_PYTHON))
def test_the_python_blocks_run(document, redis_url, tmp_path, monkeypatch):
    copy = tmp_path / document.name
    copy.write_text(
        document.read_text(encoding="utf-8").replace("redis://localhost", redis_url), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    job = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    examples = list(Sybil(parsers=[PythonCodeBlockParser(), SkipParser()]).parse(copy).examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.fixture(scope="module")
def commands() -> Iterator[ForkedCommands]:
    with ForkedCommands() as commands:
        yield commands


WITH_SHELL = [
    document
    for document in DOCUMENTS
    if any(block.document == document and block.runs_here for block in SHELL_BLOCKS)
]


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_SHELL, ids=names(WITH_SHELL))
def test_the_shell_blocks_run_and_print_what_the_document_says(document, commands, tmp_path):
    for name in ("configs", "docs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    recipe = tmp_path / "configs" / "digits.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("epochs: 30", "epochs: 2"), encoding="utf-8")
    environment = {**commands.environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for block in shell_blocks(document):
        if block.runs_here:
            code = block.code.replace("torchrun", "torchrun --rdzv-backend c10d --rdzv-endpoint localhost:0")
            code = code.replace("training.epochs=40", "training.epochs=3")  # of which the recipe has 2 here
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=280,
            )
            assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
            assert block.output in done.stdout, str(block)


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_a_shell_block_is_bash_and_its_commands_exist(block):
    checked = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    for command in commands_of_ours(block.code):
        parse(command)


def test_what_another_test_is_said_to_run_it_knows():
    for block in SHELL_BLOCKS:
        if (block.mark or "").startswith("run by "):
            test = ROOT / block.mark.removeprefix("run by ")
            assert block.document.name in test.read_text(encoding="utf-8"), f"{block}: {block.mark}"


def test_a_wrong_option_in_a_document_would_be_found():
    (command,) = commands_of_ours("FOO=1 sadp-dist stats --store runs \\\n  --no-such-option | less")
    with pytest.raises(Exception, match="no-such-option"):
        parse(command)
    assert not list(commands_of_ours("kubectl create secret sadp-dist --from-literal=a=b"))
    (command,) = commands_of_ours("torchrun -m sadp_dist train configs/digits.yaml pruning.ration=0.5")
    with pytest.raises(UsageError, match="ration"):
        parse(command)


def commands_of_ours(code: str) -> Iterator[list[str]]:
    """The arguments of each `sadp-dist` or `python -m sadp_dist` in a script."""
    for line in re.sub(r"\\\n", " ", code).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for before, word, start in zip([";", *words], words, range(1, len(words) + 1), strict=False):
            begins = set(before) <= set("();|&") or "=" in before  # else an argument of that name
            if (word == "sadp-dist" and begins) or (word == "sadp_dist" and before == "-m"):
                rest = words[start:]
                stop = next((i for i, w in enumerate(rest) if set(w) <= set("();<>|&")), len(rest))
                if rest[:stop]:
                    yield rest[:stop]


def parse(arguments: list[str]) -> None:
    """As the command line does before it runs anything; of a run also its configuration, where it is here."""
    group = typer.main.get_command(app)
    context = group.make_context("sadp-dist", list(arguments))
    name, command, rest = group.resolve_command(context, arguments)
    given = command.make_context(name, list(rest), parent=context).params
    if name == "train" and (ROOT / given["config"]).is_file():
        load_stages(ROOT / given["config"], given["overrides"] or [])


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_configurations_in_a_document_are_ones(document):
    for text in re.findall(r"^```yaml\n(.*?)^```$", document.read_text(encoding="utf-8"), re.M | re.S):
        if re.search("^training:", text, re.M):
            parse_config(yaml.safe_load(text), source=document.name)


def test_the_benchmarks_that_documents_name_are_there():
    text = "".join(
        (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("results", "benchmarks")
    )
    named = re.findall(r"^    python -m benchmarks[. ](\w+)", text, re.M)
    assert named
    for name in named:
        assert (ROOT / "benchmarks" / f"{name}.py").exists()
