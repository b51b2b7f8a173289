"""Print the packages that pip must install besides torch, one per line.

    python requirements.py pyproject.toml EXTRA,EXTRA...

These are the dependencies of pyproject.toml, SpikingJelly and FFCV. SpikingJelly and FFCV are already
installed, without dependencies: SpikingJelly requires torchvision and torchaudio, and with them pip would
replace a torch that is not from PyPI.
"""

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

INSTALLED = {"torch", "torchvision", "torchaudio", "spikingjelly", "ffcv"}
WITHOUT_WINDOWS = {
    "opencv-python": "opencv-python-headless"
}  # FFCV opens no windows, and this package needs no X11


def name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
wanted = project["dependencies"] + [
    requirement for extra in sys.argv[2].split(",") for requirement in project["optional-dependencies"][extra]
]
for package in ("spikingjelly", "ffcv"):
    wanted += [requirement for requirement in requires(package) or [] if "extra ==" not in requirement]
for requirement in wanted:
    if name(requirement) not in INSTALLED:
        print(WITHOUT_WINDOWS.get(requirement, requirement))
