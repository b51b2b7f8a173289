"""Read the files of a dataset from a folder, or from the published .tar or .tar.gz."""

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
    """The names and bytes of the files in a folder or a tar.

    A .tar.gz is unpacked once, to a temporary file without a name. Any number of forked processes may read
    at the same time. An archive cannot be pickled.

    Args:
        path: the folder, .tar or .tar.gz.

    Raises:
        UsageError: the path is none of these, or the file is damaged.

    Attributes:
        names: the path of every file in the archive, with forward slashes and without a leading "./".
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
            raise UsageError(
                f"{path}: not a complete .tar or .tar.gz ({error}); download it again"
            ) from error
        self.names = sorted(self._files)

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            UsageError: the file does not exist or is truncated.
        """
        try:
            if self._tar is None:
                return (self.path / name).read_bytes()
            offset, size = self._files[name]
            data = os.pread(
                self._tar.fileno(), size, offset
            )  # forked processes share the file position; pread leaves it alone
        except (OSError, KeyError) as error:
            raise UsageError(f"{self.path}: file {name} does not exist or cannot be read") from error
        if len(data) != size:
            raise UsageError(f"{self.path}: file {name} is truncated; download it again")
        return data

    def find(self, name: str) -> str | None:
        """Return the path of the file with this name in the outermost folder, or None."""
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
