"""The description in a .beton file: its classes, where its examples came from, and a fingerprint of them.

It lies between FFCV's table of metadata and the first page, where FFCV reads nothing: 16 bytes of `MAGIC`,
the length of the JSON that follows, and the JSON. Files of other writers have none.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.data.fingerprints import DIGEST

MAGIC = b"sadp_dist beton\x01"
SHOWN = 3
"""Names that are kept for each reason to leave files out."""
_KEY = b"sadp_dist example"


@dataclass(frozen=True)
class LeftOut:
    """Files that were left out for the same reason.

    Attributes:
        count: number of files.
        first: the first few names.
    """

    count: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class BetonDescription:
    """What a .beton file says of itself.

    Attributes:
        examples: number of examples.
        fingerprint: of the content: every example's stored bytes, label and index, as hexadecimal digits. It
            does not depend on the number of processes that wrote the file.
        classes: the class names, by label; None if the source had none.
        kind: the kind of the source, such as "folder", "zip", "parquet" or the name of a public dataset.
        source_fingerprint: of the source, where it has one.
        source_kind: which kind of fingerprint that is.
        left_out: the files of the source that are not in it, by reason.
    """

    examples: int
    fingerprint: str
    classes: tuple[str, ...] | None = None
    kind: str = "examples"
    source_fingerprint: str | None = None
    source_kind: str = "examples"
    left_out: dict[str, LeftOut] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return what `read_description` reads."""
        text = json.dumps(asdict(self)).encode()
        return MAGIC + struct.pack("<Q", len(text)) + text

    @classmethod
    def from_json(cls, text: bytes) -> BetonDescription:
        """Return the description in a JSON text; keys that this version does not know are ignored."""
        known = {name: value for name, value in json.loads(text).items() if name in cls.__match_args__}
        left_out = {
            reason: LeftOut(found["count"], tuple(found["first"]))
            for reason, found in known.pop("left_out", {}).items()
        }
        classes = known.pop("classes", None)
        return cls(**known, classes=None if classes is None else tuple(classes), left_out=left_out)

    def with_fingerprint(self, total: int) -> BetonDescription:
        """Return the description with the fingerprint of all examples, a sum of `example_fingerprint`."""
        return replace(self, fingerprint=fingerprint_of(total))


def describe(source: Any, examples: int, kind: str | None = None) -> BetonDescription:
    """Return the description of a source that is about to be written, with a fingerprint of zeros.

    Args:
        source: a map-style dataset. Its attributes `classes`, `kind`, `left_out` and `fingerprint()` are
            used if it has them, as an `ImageSource` does. A part of a dataset (torch's `Subset`) has the
            classes of the whole.
        examples: how many are written.
        kind: replaces the source's.
    """
    whole = source.dataset if hasattr(source, "indices") and hasattr(source, "dataset") else source
    classes = getattr(source, "classes", getattr(whole, "classes", None))
    fingerprint, source_kind = getattr(source, "fingerprint", None), str(getattr(source, "kind", "examples"))
    return BetonDescription(
        examples,
        fingerprint_of(0),
        tuple(map(str, classes)) if isinstance(classes, Sequence) and not isinstance(classes, str) else None,
        kind or source_kind,
        str(fingerprint()) if callable(fingerprint) else None,
        source_kind,
        shortened(getattr(source, "left_out", {})),
    )


def shortened(left_out: Mapping[str, Sequence[str]]) -> dict[str, LeftOut]:
    """Return the number and the first names of the files that were left out, by reason."""
    return {
        reason: LeftOut(len(paths), tuple(map(str, paths[:SHOWN])))
        for reason, paths in left_out.items()
        if len(paths)
    }


def read_description(path: Path, start: int, end: int) -> BetonDescription | None:
    """Return the description between two positions of a file; None if there is none."""
    with path.open("rb") as file:
        file.seek(start)
        head = file.read(len(MAGIC) + 8)
        if len(head) < len(MAGIC) + 8 or not head.startswith(MAGIC):
            return None
        (length,) = struct.unpack("<Q", head[len(MAGIC) :])
        if start + len(head) + length > end:
            return None
        return BetonDescription.from_json(file.read(length))


def example_fingerprint(stored: NDArray[np.uint8], facts: Iterable[int]) -> int:
    """Return the fingerprint of one example; the sum over all examples is that of a file.

    Args:
        stored: its bytes in the file.
        facts: the integers of its metadata, such as index, label and size, but not its address.
    """
    digest = hashlib.blake2b(stored.data, key=_KEY, digest_size=DIGEST)
    digest.update(",".join(map(str, facts)).encode())
    return int.from_bytes(digest.digest(), "little")


def fingerprint_of(total: int) -> str:
    """Return the sum of examples' fingerprints as hexadecimal digits."""
    return f"{total % 2 ** (8 * DIGEST):0{2 * DIGEST}x}"
