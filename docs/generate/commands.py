"""Print every command with its arguments and options, from the command line itself.

python docs/generate/commands.py
"""

import subprocess
import sys


def markdown() -> str:
    """Return typer's description of each command, without its list of commands, which it truncates."""
    typer = [sys.executable, "-m", "typer", "sadp_dist.cli.main", "utils", "docs", "--name", "sadp-dist"]
    printed = subprocess.run(typer, capture_output=True, text=True, check=True).stdout
    return printed[printed.index("\n## ") :]


if __name__ == "__main__":
    print(markdown())
