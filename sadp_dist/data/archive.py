"""Read the files of a dataset from a folder, a .zip, or a .tar or .tar.gz."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sadp_dist.errors import UsageError

CONTENTS = 32
"""Files whose content is part of a fingerprint, at most."""


class Archive:
    """The names and bytes of the files in a folder, a .zip or a tar.

    A .tar.gz is unpacked once, to a temporary file without a name. Any number of forked processes may read
    at the same time. An archive cannot be pickled.

    Args:
        path: the folder, .zip, .tar or .tar.gz.

    Raises:
        UsageError: the path is none of these, or the file is damaged.

    Attributes:
        kind: "folder", "zip" or "tar".
        names: the path of every file in the archive, with forward slashes and without a leading "./".
        sizes: bytes of every file, by its name.
        checksums: CRC-32 of every file of a .zip, by its name; empty for a folder or tar.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self.checksums: dict[str, int] = {}
        self._offsets: dict[str, int] = {}  # within the tar
        self._tar: IO[bytes] | None = None
        self._zip_of: int | None = None  # the process that opened the .zip
        if path.is_dir():
            self.kind = "folder"
            found = (file for file in path.rglob("*") if file.is_file())
            self.sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in found}
        elif zipfile.is_zipfile(path):
            self.kind = "zip"
            for entry in self._zip().infolist():
                if not entry.is_dir():
                    self.sizes[entry.filename] = entry.file_size
                    self.checksums[entry.filename] = entry.CRC
        else:
            self.kind = "tar"
            self._list_tar()
        self.names = sorted(self.sizes)

    def _list_tar(self) -> None:
        try:
            self._tar = _uncompressed(self.path)
            with tarfile.open(fileobj=self._tar, mode="r:") as tar:
                for member in tar:
                    if member.isfile():
                        name = PurePosixPath(member.name).as_posix()
                        self._offsets[name], self.sizes[name] = member.offset_data, member.size
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise UsageError(
                f"{self.path}: not a complete .zip, .tar or .tar.gz ({error}); download it again"
            ) from error

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            UsageError: the file does not exist, is damaged or truncated.
        """
        try:
            if self.kind == "folder":
                return (self.path / name).read_bytes()
            if self.kind == "zip":
                return self._zip().read(name)
            assert self._tar is not None
            data = os.pread(
                self._tar.fileno(), self.sizes[name], self._offsets[name]
            )  # forked processes share the file position; pread leaves it alone
        except (OSError, KeyError) as error:
            raise UsageError(f"{self.path}: file {name} does not exist or cannot be read") from error
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(
                f"{self.path}: file {name} cannot be unpacked ({error}); download the archive again"
            ) from error
        if len(data) != self.sizes[name]:
            raise UsageError(f"{self.path}: file {name} is truncated; download it again")
        return data

    def _zip(self) -> zipfile.ZipFile:
        if self._zip_of != os.getpid():  # forked processes share a handle's file position
            self._opened = zipfile.ZipFile(self.path)
            self._zip_of = os.getpid()
        return self._opened

    def fingerprint(self, names: Sequence[str], labels: Iterable[int], classes: Sequence[str]) -> str:
        """Return 32 hexadecimal digits that tell labelled files of this archive from others.

        They cover the classes, labels, names and sizes, the CRC-32 of each file in a .zip, and otherwise the
        content of up to 32 files. Where the archive is does not matter.
        """
        digest = hashlib.blake2b(digest_size=16)
        listed = [[name, self.sizes[name], self.checksums.get(name)] for name in names]
        digest.update(json.dumps([self.kind, list(classes), [int(k) for k in labels], listed]).encode())
        if not self.checksums:
            for name in names[:: len(names) // CONTENTS + 1]:
                digest.update(self.read(name))
        return digest.hexdigest()

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
