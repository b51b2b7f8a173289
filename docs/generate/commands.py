"""Print every command with its arguments and options, from the command line itself.

python docs/generate/commands.py
"""

import subprocess
import sys


def markdown() -> str:
    """What typer says of the commands, without the title that the page has already."""
    typer = [sys.executable, "-m", "typer", "sadp_dist.cli.main", "utils", "docs", "--name", "sadp-dist"]
    printed = subprocess.run(typer, capture_output=True, text=True, check=True).stdout
    return printed.split("\n", 1)[1]


if __name__ == "__main__":
    print(markdown())
