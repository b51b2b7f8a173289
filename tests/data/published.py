"""Small files of the formats in which datasets are published."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, which wrote CIFAR's batches."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_python2(self, value):
        data = value.encode() if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<I", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = save_python2
    dispatch[str] = save_python2


def python2_pickle(content: object) -> bytes:
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(content)
    return out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def cifar_files(classes: int, per_batch: int = 4) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The files of a CIFAR archive, and the pixels (n, 32, 32, 3) and labels of each batch."""
    folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    meta, key = ("batches.meta", "label_names") if classes == 10 else ("meta", "fine_label_names")
    draw = np.random.default_rng(classes)
    files = {f"{folder}/{meta}": python2_pickle({key: [f"class {k}" for k in range(classes)]})}
    expected = {}
    for name in names:
        pixels = draw.integers(0, 256, (per_batch, 32, 32, 3), dtype=np.uint8)
        labels = draw.integers(0, classes, per_batch)
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(per_batch, -1)
        batch = {"data": planes, "filenames": [f"{k}.png" for k in range(per_batch)]}
        if classes == 10:
            batch["labels"] = labels.tolist()
        else:
            batch |= {"fine_labels": labels.tolist(), "coarse_labels": (labels // 5).tolist()}
        files[f"{folder}/{name}"] = python2_pickle(batch)
        expected[name] = (pixels, labels)
    return files, expected


def tiny_imagenet_files(classes: int = 3, train: int = 2, val: int = 4) -> dict[str, bytes]:
    """The files of tiny-imagenet-200.zip. An image's first pixel says which one it is, and of which class."""
    root = "tiny-imagenet-200"
    names = [f"n{7000 - 11 * k}" for k in range(classes)]
    files = {f"{root}/wnids.txt": "\n".join(names).encode()}
    for k, name in enumerate(names):
        files[f"{root}/train/{name}/{name}_boxes.txt"] = b""
        for i in range(train):
            files[f"{root}/train/{name}/images/{name}_{i}.JPEG"] = image_bytes(k, i)
    lines = []
    for i in range(val):
        files[f"{root}/val/images/val_{i}.JPEG"] = image_bytes(i % classes, i)
        lines.append(f"val_{i}.JPEG\t{names[i % classes]}\t0\t32\t44\t62\n")
        files[f"{root}/test/images/test_{i}.JPEG"] = image_bytes(0, i)
    files[f"{root}/val/val_annotations.txt"] = "".join(lines).encode()
    return files


def image_bytes(label: int, number: int) -> bytes:
    """64 x 64 pixels of one colour, which tells the label and the number."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (40 * label, 20 * number, 0)).save(out, "PNG")
    return out.getvalue()


def wav_bytes(samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> bytes:
    """Samples in -1..1 as a .wav of 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(16_000 * seconds)) / 16_000)


def speech_commands_files(words: tuple[str, ...] = ("yes", "bed", "on"), each: int = 4) -> dict[str, bytes]:
    """The files of Speech Commands' archive; of every word's recordings the first is in "test", the second in
    "val". A word's tone tells which it is."""
    files = {"./LICENSE": b"", "./_background_noise_/pink_noise.wav": wav_bytes(tone(90))}
    for k, word in enumerate(words):
        for i in range(each):
            files[f"./{word}/{i:08x}_nohash_0.wav"] = wav_bytes(tone(300 * (k + 1), 0.8 + 0.1 * i))
    files["./testing_list.txt"] = "".join(f"{word}/{0:08x}_nohash_0.wav\n" for word in words).encode()
    files["./validation_list.txt"] = "".join(f"{word}/{1:08x}_nohash_0.wav\n" for word in words).encode()
    return files


def write_shd(path: Path, labels: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """An .h5 or .h5.gz as that of the Spiking Heidelberg Digits, and the times and units of its spikes."""
    import h5py

    draw = np.random.default_rng(len(labels))
    spikes = [
        (np.sort(draw.uniform(0, 1.3, n)).astype(np.float16), draw.integers(0, 700, n).astype(np.uint16))
        for n in draw.integers(50, 400, len(labels))
    ]
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for k, (name, kind) in enumerate((("times", np.float16), ("units", np.uint16))):
            column = file.create_dataset(f"spikes/{name}", (len(labels),), h5py.vlen_dtype(kind))
            for i, pair in enumerate(spikes):
                column[i] = pair[k]
        file["labels"] = np.array(labels, np.uint16)
        file["extra/keys"] = np.array([f"digit {k}".encode() for k in range(20)])
    path.write_bytes(gzip.compress(out.getvalue()) if path.suffix == ".gz" else out.getvalue())
    return spikes
