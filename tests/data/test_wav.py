"""Recordings of one's own: any rate and width, classes and splits by folders, names or lists."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from sadp_dist.data import log_mel, open_dataset
from sadp_dist.data.wav import decode
from sadp_dist.errors import UsageError
from tests.data.published import tone, wav_bytes, write_tar
from tests.data.test_nmnist import write_folder, write_zip

SAMPLE = Path(os.environ.get("SADP_DIST_DATA") or "nowhere") / "spoken-digits.zip"
QUIET = wav_bytes(tone(200, 0.2))
NAMED = {
    f"all/{word}_{who}_{n}.wav": QUIET for word in ("no", "yes") for who in ("ann", "bo") for n in range(3)
}
BY_NAME = "{class}_{speaker}_{number}.wav"


def stored(samples: np.ndarray, rate: int, dtype: str) -> bytes:
    """Samples in -1..1 as a .wav with numbers of this kind; "24 bits" is written by hand."""
    out = io.BytesIO()
    if dtype == "24 bits":
        whole = np.round(samples * (2**23 - 1)).astype("<i4")
        frames = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        import wave

        with wave.open(out, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(3)
            sound.setframerate(rate)
            sound.writeframes(frames)
        return out.getvalue()
    if dtype == "uint8":
        samples = np.round(127 * samples + 128)
    elif dtype.startswith("int"):
        samples = np.round(samples * np.iinfo(dtype).max)
    wavfile.write(out, rate, samples.astype(dtype))
    return out.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "24 bits", "int32", "float32", "float64"])
def test_samples_mean_the_same_whatever_numbers_they_are_stored_in(dtype):
    sound = tone(440, 0.1)
    rate, samples = decode(stored(sound, 16_000, dtype))
    assert rate == 16_000
    np.testing.assert_allclose(samples, sound, atol=0.01 if dtype == "uint8" else 1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(rate, tmp_path):
    sound = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate)
    files = {"train/a/1.wav": stored(sound, rate, "int16"), "train/b/1.wav": QUIET}
    recordings = open_dataset("wav", write_folder(tmp_path, files), "train")
    samples = recordings.samples(0)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples[800:-800], tone(1_000)[800:-800], atol=0.01)
    features, _ = recordings[0]
    assert (features.argmax(1)[5:-5] == log_mel(tone(1_000)).argmax(1)[50]).all()


def test_channels_are_averaged(tmp_path):
    both = np.stack([tone(300, 0.5), tone(900, 0.5)], axis=1)
    files = {"a/1.wav": stored(both, 16_000, "float32"), "b/1.wav": QUIET}
    recordings = open_dataset("wav", write_folder(tmp_path, files), "train", train_files="*.wav")
    np.testing.assert_allclose(recordings.samples(0), both.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_classes_and_splits_by_folders(kind, tmp_path):
    files = {
        f"mine/{split}/{word}/{n}.wav": wav_bytes(tone(hertz, 0.3))
        for split, each in (("train", 3), ("Validation", 2), ("testing", 1))
        for word, hertz in (("low", 300), ("high", 1_500))
        for n in range(each)
    }
    write = {"folder": write_folder, "zip": write_zip, "tar": write_tar}[kind]
    source = write(tmp_path / f"sounds{'' if kind == 'folder' else '.' + kind}", files)
    for split, each in (("train", 3), ("val", 2), ("test", 1)):
        recordings = open_dataset("wav", source, split, seconds=0.5)
        assert recordings.classes == ["high", "low"] and recordings.kind == kind
        assert recordings.labels.tolist() == [0] * each + [1] * each
        features = [recordings[k][0] for k in range(len(recordings))]
        assert recordings.shape == (51, 40) and all(one.shape == (51, 40) for one in features)
        assert features[0][10].argmax() > features[-1][10].argmax()


@pytest.mark.parametrize(
    ("options", "test"),
    [
        ({"pattern": BY_NAME, "test_files": "*_2.wav"}, {"no_ann_2", "no_bo_2", "yes_ann_2", "yes_bo_2"}),
        ({"pattern": BY_NAME, "test_files": "yes_ann_*.wav"}, {"yes_ann_0", "yes_ann_1", "yes_ann_2"}),
        ({"pattern": r"(?P<class>[a-z]+)_bo_\d\.wav", "test_files": "*_0.wav"}, {"no_bo_0", "yes_bo_0"}),
        ({"pattern": "{class}_*_?.wav", "test_files": "test.txt"}, {"no_ann_1", "yes_bo_0"}),
        ({"pattern": BY_NAME, "train_files": "*_[01].wav"}, {"no_ann_2", "no_bo_2", "yes_ann_2", "yes_bo_2"}),
        (
            {
                "pattern": BY_NAME,
                "train_files": "*_0.wav",
                "val_files": "*_ann_1.wav",
                "test_files": "*_bo_1.wav",
            },
            {"no_bo_1", "yes_bo_1"},
        ),
    ],
)
def test_classes_by_name_and_splits_by_pattern_or_list(options, test, tmp_path):
    listed = {"all/test.txt": b"no_ann_1.wav\n./yes_bo_0.wav\n\n"}
    source = write_zip(tmp_path / "sounds.zip", NAMED | listed)
    splits = {split: open_dataset("wav", source, split, **options) for split in ("train", "test")}
    names = {split: {Path(path).stem for path in found.paths} for split, found in splits.items()}
    assert names["test"] == test and not names["train"] & test
    for found in splits.values():
        assert found.classes == ["no", "yes"]
        assert [found.classes[k] for k in found.labels] == [
            Path(path).stem.split("_")[0] for path in found.paths
        ]
    everything = len(names["train"]) + len(test)
    in_pattern = [name for name in NAMED if "bo" in name or "(?P" not in options["pattern"]]
    if "val_files" in options:
        assert splits["test"].left_out["in no split"] == [name for name in NAMED if "_2" in name]
        assert everything == 6 and len(open_dataset("wav", source, "val", **options)) == 2
    else:
        assert everything == len(in_pattern)


def test_a_source_may_be_one_split_as_a_whole(tmp_path):
    source = write_folder(tmp_path, {f"{word}/{n}.wav": QUIET for word in "ab" for n in range(3)})
    assert len(open_dataset("wav", source, "test", test_files="*")) == 6
    with pytest.raises(
        UsageError, match=r"has no files of the split 'train'; it has \"test\"; set train_files"
    ):
        open_dataset("wav", source, "train", test_files="*")


def test_a_list_may_lie_elsewhere_and_has_to_name_recordings(tmp_path):
    files = {f"{word}/{name}": QUIET for word in "ab" for name in ("1.wav", "2.wav")}
    source, listed = write_folder(tmp_path / "sounds", files), tmp_path / "list.txt"

    def paths(lines):
        listed.write_text("\n".join(lines))
        return open_dataset("wav", source, "test", test_files=str(listed)).paths

    assert paths(["a/1.wav", "b/2.wav"]) == ["a/1.wav", "b/2.wav"]
    with pytest.raises(UsageError, match=r"2 of its 3 files are not in .*sounds, such as 'a/3\.wav'"):
        paths(["a/1.wav", "a/3.wav", "a/4.wav"])
    with pytest.raises(UsageError, match=r"'1\.wav' could be a/1\.wav or b/1\.wav; write more of the path"):
        paths(["1.wav"])


def test_what_is_left_out_is_counted(tmp_path):
    others = {
        "all/notes.txt": b"",
        "all/no_ann_9.mp3": b"x",
        "all/yes_ann_7.wav": b"",
        "all/noise.wav": QUIET,
    }
    source = write_zip(tmp_path / "sounds.zip", NAMED | others | {"__MACOSX/all/._no_ann_0.wav": b"x"})
    recordings = open_dataset("wav", source, "train", pattern=BY_NAME, test_files="yes_*.wav")
    assert recordings.left_out == {
        "hidden or system file": ["__MACOSX/all/._no_ann_0.wav"],
        "not a .wav file (.mp3)": ["all/no_ann_9.mp3"],
        "not a .wav file (.txt)": ["all/notes.txt"],
        "empty file": ["all/yes_ann_7.wav"],
        f"does not match pattern={BY_NAME!r}": ["all/noise.wav"],
        "class without recordings in this split": ["yes"],
    }
    assert (recordings.classes, set(recordings.labels)) == (["no", "yes"], {0})


@pytest.mark.parametrize(
    ("files", "options", "expected"),
    [
        (
            NAMED,
            {"pattern": BY_NAME},
            "has no files of the split 'test'; set test_files to a folder, a pattern",
        ),
        (NAMED, {"test_files": "*_1.wav"}, "has one class only, 'all'; set pattern to say"),
        (
            NAMED,
            {"pattern": "{class}_{number}.wav"},
            "could be 'no' or 'no_ann'; use a regular expression",
        ),
        (NAMED, {"pattern": "{word}_*.wav"}, "must have {class} once, as in '{class}_{number}.wav'"),
        (NAMED, {"pattern": "(?P<class>.*"}, "is not a regular expression: missing"),
        (
            NAMED,
            {"pattern": "{class}-*.wav"},
            r"matches none of the 12 files of .*, such as all/no_",
        ),
        (
            NAMED,
            {"pattern": BY_NAME, "test_files": "*.flac"},
            r"test_files='\*\.flac' is neither a folder, a",
        ),
        (
            NAMED,
            {"pattern": BY_NAME, "test_files": "*_1.wav", "val_files": "*_bo_*.wav"},
            r"no_bo_1\.wav is in the splits 'val' and 'test'; change val_files or test_files",
        ),
        ({"a.txt": b"x"}, {}, r"has no \.wav files"),
        (
            {"1.wav": QUIET, "2.wav": QUIET},
            {},
            r"has no class folders, only files such as 1\.wav; sort",
        ),
        (
            {"test/a/b/1.wav": QUIET, "test/c/1.wav": QUIET},
            {},
            r"folders in folders, such as test/a/b/1\.wav",
        ),
    ],
)
def test_mistakes_are_refused_in_one_line(files, options, expected, tmp_path):
    with pytest.raises(UsageError, match=expected) as refused:
        open_dataset("wav", write_folder(tmp_path, files), "test", **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"RIFF", "not a complete .wav file"),
        (b"no sound at all, but text", "not a complete .wav file: .*not understood"),
        (QUIET[:-1_000], "not a complete .wav file: Reached EOF prematurely"),
        (wav_bytes(np.zeros(0)), "it has no samples"),
        (stored(np.array([0.5, np.nan]), 16_000, "float32"), "samples are not finite numbers"),
        (QUIET[:20] + b"\x11\x00" + QUIET[22:], "not a complete .wav file: Unknown wave file format"),
    ],
)
def test_a_damaged_recording_is_named(data, expected, tmp_path):
    files = {"test/a/1.wav": QUIET, "test/b/broken.wav": data}
    recordings = open_dataset("wav", write_folder(tmp_path, files), "test")
    with pytest.raises(
        UsageError, match=rf"test/b/broken\.wav cannot be read \({expected}.*; replace"
    ) as refused:
        recordings[1]
    assert "\n" not in str(refused.value)


def test_recordings_that_are_cut_are_said(tmp_path):
    files = {f"test/{k}/1.wav": wav_bytes(tone(200, seconds)) for k, seconds in (("a", 0.5), ("b", 1.25))}
    source = write_folder(tmp_path, files)
    with pytest.warns(
        UserWarning, match=r"1 of 2 recordings .* longer than seconds=1 .*the longest has 1\.25 s"
    ):
        open_dataset("wav", source, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_dataset("wav", source, "test", seconds=1.25)[1][0].shape == (126, 40)


def test_the_fingerprint_is_that_of_the_content_not_of_the_place(tmp_path):
    def fingerprint(folder, **options):
        return open_dataset(
            "wav", folder, "test", pattern=BY_NAME, test_files="*_0.wav", **options
        ).fingerprint()

    first, second = (write_folder(tmp_path / name, NAMED) for name in ("first", "second"))
    assert fingerprint(first) == fingerprint(second)
    (second / "all/no_ann_0.wav").write_bytes(wav_bytes(tone(201, 0.2)))
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.skipif(not SAMPLE.is_file(), reason="SADP_DIST_DATA names no folder with spoken-digits.zip")
def test_spoken_digits_are_read_from_their_zip():
    options = {"pattern": BY_NAME, "test_files": "*_[0-4].wav"}
    with pytest.warns(UserWarning, match="longer than seconds=1 and are cut"):
        recordings = open_dataset("wav", SAMPLE, "test", **options)
    assert recordings.classes == [str(digit) for digit in range(10)] and recordings.left_out == {}
    assert np.bincount(recordings.labels).tolist() == [30] * 10
    features, _ = recordings[17]
    assert np.isfinite(features).all() and features.shape == (101, 40) and abs(features.mean()) < 1e-5
