"""Print what pip is to install beside torch: what pyproject.toml, SpikingJelly and FFCV ask for, one a line.

    python requirements.py pyproject.toml EXTRA,EXTRA...

SpikingJelly and FFCV are installed already, without what they ask for: SpikingJelly asks for torchvision and
torchaudio, with which pip would replace a torch that is not the one of PyPI.
"""

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

INSTALLED = {"torch", "torchvision", "torchaudio", "spikingjelly", "ffcv"}
WITHOUT_WINDOWS = {"opencv-python": "opencv-python-headless"}  # FFCV shows none, and this one needs no X11


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
