"""Recordings of your own, as .wav files in a folder, a .zip or a tar."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import gcd
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sadp_dist.data.archive import Archive
from sadp_dist.data.config import DataConfig
from sadp_dist.data.file_classes import classes_by_folder, classes_by_pattern
from sadp_dist.data.registry import register_dataset
from sadp_dist.data.sound_features import BANDS, HOP, RATE, log_mel
from sadp_dist.data.split_files import split_of_each
from sadp_dist.errors import UsageError

LOOKED_AT = 500
"""Recordings whose length is looked at when a source is opened."""


class WavConfig(DataConfig):
    """Recordings of your own, as .wav files.

    Attributes:
        pattern: how the end of a recording's path names its class, such as "{class}_{speaker}_{number}.wav".
            `{class}` is the class; other names in braces, `*` and `?` match any text without a slash. A
            regular expression with the group `(?P<class>...)` works too. None: the class is the folder of the
            recording.
        train_files: the recordings of the split "train": a folder of the source, a pattern such as "*_1?.wav"
            for the end of the path, or a text file with a path on each line. None: those of no other split.
        val_files: the same for the split "val". None: there is no such split.
        test_files: the same for the split "test". If none of the three is set, the folders `train`, `val` and
            `test` are the splits.
        seconds: length of an example; shorter recordings are padded with silence, longer ones cut. An example
            has 1 + 100 * seconds time steps.
    """

    pattern: str | None = None
    train_files: str | None = None
    val_files: str | None = None
    test_files: str | None = None
    seconds: Annotated[float, Field(ge=0.01, le=3600)] = 1.0


class Recordings:
    """Recordings as features (T, 40) float32, see `log_mel`.

    Attributes:
        name, classes, labels: see :class:`~sadp_dist.data.examples.Examples`. The classes are those of all
            splits.
        paths: the path of every recording within its source.
        kind: "folder", "zip" or "tar".
        left_out: the files that are no examples of any split, by the reason.
    """

    def __init__(
        self,
        archive: Archive,
        classes: Sequence[str],
        labels: Sequence[int],
        paths: Sequence[str],
        seconds: float,
        left_out: Mapping[str, list[str]],
    ) -> None:
        self.name, self.kind = str(archive.path), archive.kind
        self.classes = list(classes)
        self.labels = np.array(labels, dtype=np.int64)
        self.paths = list(paths)
        self.left_out = dict(left_out)
        self._archive, self._length = archive, round(100 * seconds) * HOP

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of an example, (T, 40)."""
        return 1 + self._length // HOP, BANDS

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that tell this data from other data, see `Archive.fingerprint`."""
        return self._archive.fingerprint(self.paths, self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        return log_mel(self.samples(index), self._length), int(self.labels[index])

    def samples(self, index: int) -> npt.NDArray[np.float64]:
        """Return the samples of a recording, in -1..1, at 16 kHz; several channels are averaged.

        Raises:
            UsageError: the file is damaged, or its samples are compressed; the message names it.
        """
        path = self.paths[index]
        try:
            rate, samples = decode(self._archive.read(path))
            return resample(samples, rate)
        except ValueError as error:
            if isinstance(error, UsageError):
                raise
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{self.name}: {path} cannot be read ({reason}); replace or remove it"
            ) from error

    def warn_of_long(self) -> None:
        """Look at up to 500 recordings, and warn if some are longer than an example."""
        limit, lengths = self._length / RATE, []
        for index in np.unique(np.linspace(0, len(self) - 1, LOOKED_AT).astype(int)):
            with suppress(ValueError):  # a damaged file is refused when it is read
                rate, samples = decode(self._archive.read(self.paths[index]))
                lengths.append(len(samples) / rate)
        cut = sum(length > limit for length in lengths)
        if cut:
            warnings.warn(
                f"{self.name}: {cut} of {len(lengths)} recordings that were looked at are longer than "
                f"seconds={limit:g} and are cut; the longest has {max(lengths):.2f} s",
                stacklevel=2,
            )


def decode(wav: bytes) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the sampling rate in Hz and the samples in -1..1, the mean of all channels, (n,).

    Reads whole numbers of 8, 16, 24 and 32 bits, and floating point numbers.

    Raises:
        ValueError: the file is damaged, has no samples, or is compressed.
    """
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("error", wavfile.WavFileWarning)  # the file ends too early
        warnings.filterwarnings("ignore", "Chunk .* not understood", wavfile.WavFileWarning)
        try:
            rate, stored = wavfile.read(io.BytesIO(wav))
        except Exception as error:  # its reader raises many kinds for damaged files
            raise ValueError(f"not a complete .wav file: {error}") from error
    if stored.size == 0 or rate == 0:
        raise ValueError("it has no samples")
    samples = stored.astype(np.float64)
    if stored.dtype.kind == "u":
        samples = samples / 128 - 1  # 8 bits, without a sign
    elif stored.dtype.kind == "i":
        samples /= 2.0 ** (8 * stored.dtype.itemsize - 1)
    elif not np.isfinite(samples).all():
        raise ValueError("samples are not finite numbers")
    return int(rate), samples if samples.ndim == 1 else samples.mean(axis=1)


def resample(samples: npt.NDArray[np.float64], rate: int) -> npt.NDArray[np.float64]:
    """Return samples of another rate at 16 kHz, through SciPy's polyphase filter."""
    if rate == RATE:
        return samples
    from scipy.signal import resample_poly

    common = gcd(RATE, rate)
    resampled: npt.NDArray[np.float64] = resample_poly(samples, RATE // common, rate // common)
    return resampled


@register_dataset("wav", WavConfig, kind="audio")
def open_wav(
    path: Path,
    split: str,
    pattern: str | None = None,
    train_files: str | None = None,
    val_files: str | None = None,
    test_files: str | None = None,
    seconds: float = 1.0,
) -> Recordings:
    """Open a split of a folder, .zip or tar of .wav files. The options are those of `WavConfig`.

    Raises:
        UsageError: there are no recordings, the pattern matches none, or the split is not known.
    """
    archive = Archive(path)
    left_out: dict[str, list[str]] = {}
    names = []
    for name in archive.names:
        if any(part.startswith((".", "_")) for part in name.split("/")):
            reason = "hidden or system file"
        elif not name.lower().endswith(".wav"):
            reason = f"not a .wav file ({Path(name).suffix.lower() or 'no extension'})"
        elif archive.sizes[name] == 0:
            reason = "empty file"
        else:
            names.append(name)
            continue
        left_out.setdefault(reason, []).append(name)
    if not names:
        raise UsageError(f"source {str(path)!r} has no .wav files")
    if pattern is None:
        found, reason = classes_by_folder(names, str(path)), "in no class folder"
    else:
        found, reason = classes_by_pattern(names, str(path), pattern), f"does not match pattern={pattern!r}"
    if without_class := [name for name in names if name not in found]:
        left_out[reason] = without_class
    descriptions = {"train": train_files, "val": val_files, "test": test_files}
    splits = split_of_each(archive, list(found), descriptions, split)
    if without_split := [name for name in found if name not in splits]:
        left_out["in no split"] = without_split
    classes = sorted({found[name] for name in splits})
    if len(classes) == 1:
        raise UsageError(
            f"source {str(path)!r} has one class only, {classes[0]!r}; set pattern to say which part of a "
            "path is the class, as in '{class}_{number}.wav'"
        )
    number = {word: k for k, word in enumerate(classes)}
    paths = [name for name in found if splits.get(name) == split]
    labels = [number[found[name]] for name in paths]
    if absent := [word for k, word in enumerate(classes) if k not in set(labels)]:
        left_out["class without recordings in this split"] = absent
    recordings = Recordings(archive, classes, labels, paths, seconds, left_out)
    recordings.warn_of_long()
    return recordings
