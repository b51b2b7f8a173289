"""The files of a dataset, in a folder or in the .tar or .tar.gz that it is published as."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from sadp_dist.errors import UsageError


class Archive:
    """Names and bytes of a folder's or a tar's files.

    A .tar.gz is unpacked once, to a temporary file without a name. Any number of forked processes may read
    at the same time; it cannot be sent to another process.

    Args:
        path: the folder, .tar or .tar.gz.

    Raises:
        UsageError: neither of these, or damaged.

    Attributes:
        names: every file, relative, with forward slashes and without a leading "./".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] = {}  # offset and size within the tar
        self._tar: IO[bytes] | None = None
        if path.is_dir():
            found = (file for file in path.rglob("*") if file.is_file())
            self.names = sorted(file.relative_to(path).as_posix() for file in found)
            return
        try:
            self._tar = _uncompressed(path)
            with tarfile.open(fileobj=self._tar, mode="r:") as tar:
                for member in tar:
                    if member.isfile():
                        name = PurePosixPath(member.name).as_posix()
                        self._files[name] = (member.offset_data, member.size)
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise UsageError(f"{path}: no whole .tar.gz ({error}); download it again") from error
        self.names = sorted(self._files)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            UsageError: the file is not there, or cut short.
        """
        try:
            if self._tar is None:
                return (self.path / name).read_bytes()
            offset, size = self._files[name]
            data = os.pread(self._tar.fileno(), size, offset)  # moves no position, which forks share
        except (OSError, KeyError) as error:
            raise UsageError(f"{self.path}: has no file {name} that can be read") from error
        if len(data) != size:
            raise UsageError(f"{self.path}: file {name} is cut short; download it again")
        return data

    def find(self, name: str) -> str | None:
        """The file of this name that is nearest to the top, or None."""
        found = [file for file in self.names if PurePosixPath(file).name == name]
        return min(found, key=lambda file: file.count("/"), default=None)


def _uncompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.open("rb")
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    unpacked.seek(0)
    return unpacked
