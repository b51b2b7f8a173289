"""`launch/setup.sh` installs what is missing and nothing else; around it stubs record what is called."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["bash", "cat", "cp", "cut", "dirname", "env", "grep", "mkdir", "mktemp", "rm", "sha256sum", "tail"]
TOOLS += ["touch", "true"]

RECORD = '#!/bin/sh\necho "${0##*/} $*" >>"$MACHINE/calls"\n'
STUBS = {
    "id": "#!/bin/sh\necho ${USER_ID:-0}\n",
    **dict.fromkeys(("chromium", "g++", "ip", "openssl", "redis-server"), "#!/bin/sh\n"),
    "pkg-config": '#!/bin/sh\ncase "${LACKS:-}" in *"$2"*) exit 1;; esac\n',
    "apt-get": RECORD
    + 'echo "frontend $DEBIAN_FRONTEND" >>"$MACHINE/calls"\n'
    + '[ -z "${NO_NETWORK:-}" ]\n',
    # sudo keeps nothing of the environment but what the stubs need to know.
    "sudo": RECORD + 'shift\nexec env -i PATH="$PATH" MACHINE="$MACHINE" "$@"\n',
    "python3.12": RECORD.replace("$*", "$1 $2 $3")
    + f"""
case "$*" in
  *ensurepip*) case "${{LACKS:-}}" in *ensurepip*) exit 1;; esac;;
  *Python.h*) case "${{LACKS:-}}" in *Python.h*) exit 1;; esac;;
  *'print('*) echo python3.12;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python";;
  "-m pip --version"*) ;;
  "-m pip"*) [ -z "${{NO_NETWORK:-}}" ] || {{ printf 'WARNING: again\\nERROR: no network\\n' >&2; exit 1; }};;
  *) exec {sys.executable} "$@";;
esac
""",
}


class Machine:
    """A copy of the files that setup.sh reads, and a PATH on which only the stubs are found."""

    def __init__(self, folder: Path) -> None:
        self.project, self.folder = folder / "project", folder
        (self.project / "launch").mkdir(parents=True)
        for name in ("launch/setup.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.project / name)
        (folder / "bin").mkdir()
        for name in TOOLS:
            (folder / "bin" / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not here"))
        for name, text in STUBS.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def setup(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": str(self.folder / "bin"),
            "MACHINE": str(self.folder),
            "TMPDIR": str(self.folder),
            **variables,
        }
        return subprocess.run(
            [self.project / "launch" / "setup.sh"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def calls(self, of: str) -> list[str]:
        """What a stub was called with since the last time one asked, one line a call."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if line.startswith(of)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_second_time_it_does_nothing(machine):
    first = machine.setup()
    assert first.returncode == 0, first.stderr
    assert machine.calls("python -m pip install") == ["python -m pip install"]
    second = machine.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert machine.calls("") == []


def test_a_change_of_pyproject_or_of_the_extras_installs_again(machine):
    machine.setup()
    machine.calls("")
    with (machine.project / "pyproject.toml").open("a") as file:
        file.write("# one more line\n")
    for variables in ({}, {"EXTRAS": "digits"}):
        assert machine.setup(**variables).returncode == 0
        assert machine.calls("python -m pip install") == ["python -m pip install"]
        assert machine.setup(**variables).stdout == ""
    assert len(list((machine.project / ".venv").glob(".sadp_dist-*"))) == 1


def test_missing_packages_are_named_where_apt_is_not_allowed(machine):
    (machine.folder / "bin" / "g++").unlink()
    done = machine.setup(NO_APT="1", LACKS="opencv4 ensurepip")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "setup: missing system packages; install them, then run this script again: "
        "sudo apt-get install g++ libopencv-dev python3.12-venv"
    ]
    assert machine.calls("apt-get") == []
    assert not (machine.project / ".venv").exists()


def test_servers_and_a_browser_are_installed_only_for_those_who_run_the_tests(machine):
    for name in ("chromium", "ip", "openssl", "redis-server"):
        (machine.folder / "bin" / name).unlink()
    assert machine.setup(NO_APT="1", EXTRAS="redis").returncode == 0
    done = machine.setup(NO_APT="1")
    assert done.returncode == 2
    assert done.stderr.endswith("sudo apt-get install redis-server openssl iproute2 chromium\n")


@pytest.mark.parametrize("user_id", ["0", "1000"])
def test_root_and_who_may_sudo_install_the_missing_packages_without_a_question(machine, user_id):
    done = machine.setup(LACKS="libturbojpeg Python.h", USER_ID=user_id)
    assert done.returncode == 0, done.stderr
    calls = machine.calls("")
    assert [call for call in calls if call.startswith("apt-get")] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends libturbojpeg0-dev python3.12-dev",
    ]
    assert [call for call in calls if call.startswith("frontend")] == ["frontend noninteractive"] * 2
    assert any(call.startswith("sudo") for call in calls) == (user_id != "0")


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [("", "setup: ERROR: no network; check the network"), ("opencv4", "sudo apt-get install libopencv-dev")],
)
def test_a_failure_is_one_line_that_says_what_to_do_and_the_next_try_starts_anew(machine, lacks, expected):
    failed = machine.setup(NO_NETWORK="1", LACKS=lacks)
    assert failed.returncode == 2
    assert expected in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    machine.calls("")
    assert machine.setup().returncode == 0
    assert machine.calls("python -m pip install") == ["python -m pip install"]


def test_a_python_that_will_not_do_is_refused(machine):
    done = machine.setup(PYTHON="python2.7")
    assert done.returncode == 2
    assert done.stderr.startswith("setup: PYTHON=python2.7 is not Python 3.11 or later")
