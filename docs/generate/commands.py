"""Print every command with its arguments and options, from the command line itself.

python docs/generate/commands.py
"""

import subprocess
import sys


def markdown() -> str:
    """What typer says of each command; its list of them all is cut short, and the page's contents are one."""
    typer = [sys.executable, "-m", "typer", "sadp_dist.cli.main", "utils", "docs", "--name", "sadp-dist"]
    printed = subprocess.run(typer, capture_output=True, text=True, check=True).stdout
    return printed[printed.index("\n## ") :]


if __name__ == "__main__":
    print(markdown())
