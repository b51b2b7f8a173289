"""Google Speech Commands v2 (Warden, arXiv:1804.03209): 35 words, one second each, as log-mel features."""

from __future__ import annotations

import io
import wave
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sadp_dist.data.archive import Archive
from sadp_dist.data.examples import Examples
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.data.sound_features import RATE, log_mel
from sadp_dist.errors import UsageError

ARCHIVE = "speech_commands_v0.02.tar.gz"
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}


class SpokenWords:
    """Recordings as features (101, 40) float32, see `log_mel`.

    Attributes:
        name, classes, labels: see :class:`~sadp_dist.data.examples.Examples`.
        paths: the path of every recording within its source.
    """

    def __init__(self, archive: Archive, root: str, paths: list[str], classes: list[str]) -> None:
        number = {word: k for k, word in enumerate(classes)}
        self.name = str(archive.path)
        self.classes = classes
        self.labels = np.array([number[path.split("/")[0]] for path in paths], dtype=np.int64)
        self.paths = paths
        self._archive, self._root = archive, root

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        return log_mel(self.samples(index)), int(self.labels[index])

    def samples(self, index: int) -> npt.NDArray[np.float64]:
        """Return the samples of a recording, in -1..1, at 16 kHz."""
        path = self.paths[index]
        try:
            with wave.open(io.BytesIO(self._archive.read(self._root + path))) as sound:
                form = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
                frames = sound.readframes(sound.getnframes())
        except (wave.Error, EOFError) as error:
            raise UsageError(f"{self.name}: {path} is not a readable .wav ({error})") from error
        if form != (1, 2, RATE):
            raise UsageError(
                f"{self.name}: {path} has {form[0]} channels of {8 * form[1]} bits at {form[2]:,} Hz; "
                f"expected 1 channel of 16 bits at {RATE:,} Hz"
            )
        return np.frombuffer(frames, "<i2") / 2**15


@register_dataset(
    "speech-commands",
    kind="audio",
    train=84_843,
    val=9_981,
    test=11_005,
    classes=35,
    shape=(101, 40),
    source="download speech_commands_v0.02.tar.gz from "
    "download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    files=(SourceFile("speech_commands_v0.02.tar.gz", "6b74f3901214cb2c2934e98196829835"),),
)
def open_speech_commands(path: Path, split: str) -> Examples:
    """Open Speech Commands: `speech_commands_v0.02.tar.gz` or its unpacked folder.

    The archive has lists of the recordings of "val" and "test"; all others are "train". Background noise is
    left out.

    Raises:
        UsageError: files are missing or damaged.
    """
    packed = path / ARCHIVE
    archive = Archive(packed if packed.is_file() else path)
    listed, root = {}, ""
    for part, name in LISTS.items():
        file = archive.find(name)
        if file is None:
            raise UsageError(f"{archive.path}: has no file {name}; give {ARCHIVE} or its unpacked folder")
        listed[part] = set(archive.read(file).decode().split())
        root = file.removesuffix(name)
    names = (name.removeprefix(root) for name in archive.names if name.startswith(root))
    recordings = [name for name in names if _is_recording(name)]
    classes = sorted({name.split("/")[0] for name in recordings})
    if split == "train":
        chosen = [name for name in recordings if not any(name in some for some in listed.values())]
    else:
        chosen = [name for name in recordings if name in listed[split]]
        if missing := len(listed[split]) - len(chosen):
            raise UsageError(f"{archive.path}: {missing:,} recordings of {LISTS[split]} are missing")
    return SpokenWords(archive, root, chosen, classes)


def _is_recording(name: str) -> bool:
    file = PurePosixPath(name)
    return len(file.parts) == 2 and file.suffix == ".wav" and not name.startswith(("_", "."))
