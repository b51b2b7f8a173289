"""Sounds to log-mel features, Speech Commands from its archive, spikes of SHD to counts."""

from __future__ import annotations

import multiprocessing
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from sadp_dist.data import DATASETS, open_dataset
from sadp_dist.data.shd import open_shd, spike_counts
from sadp_dist.data.sound_features import FLOOR, log_mel, mel_bands
from sadp_dist.data.speech_commands import open_speech_commands
from sadp_dist.errors import UsageError
from tests.data.published import speech_commands_files, tone, wav_bytes, write_shd, write_tar

ARCHIVE = "speech_commands_v0.02.tar.gz"


def test_the_bands_are_triangles_of_equal_width_in_mel_and_cover_all_between_their_edges():
    bands = mel_bands()
    assert bands.shape == (40, 241)
    frequencies = np.arange(241) * 16_000 / 480
    between = (frequencies >= 70) & (frequencies <= 3_700)
    np.testing.assert_allclose(bands.sum(0)[between], 1)  # a band falls as the next one rises
    assert (bands[:, (frequencies < 20) | (frequencies > 4_000)] == 0).all()
    # Filled by area, a triangle's is half its base; the centres, in mel, are evenly spaced.
    finely = np.array([np.average(frequencies, weights=band) for band in bands[20:]])
    steps = np.diff(2595 * np.log10(1 + finely / 700))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.15)


def test_the_features_are_those_of_scipys_spectrogram():
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000)
    transform = ShortTimeFFT(hann(480, sym=False), hop=160, fs=16_000)
    power = np.abs(transform.stft(np.pad(sound, 480), p0=3, p1=104)) ** 2
    energies = np.log(mel_bands() @ power + FLOOR).T
    expected = (energies - energies.mean()) / energies.std()
    features = log_mel(sound)
    assert (features.shape, features.dtype) == ((101, 40), np.float32)
    np.testing.assert_allclose(features, expected, atol=1e-4)


@pytest.mark.parametrize("hertz", [250, 800, 2_000, 3_500])
def test_a_tone_is_loudest_in_the_band_that_it_lies_in(hertz):
    loudest = log_mel(tone(hertz))[5:-5].argmax(1)
    nearest = np.abs(mel_bands() @ (np.arange(241) * 16_000 / 480) / mel_bands().sum(1) - hertz).argmin()
    assert (np.abs(loudest - nearest) <= 1).all()


def test_how_loud_or_long_a_sound_is_does_not_matter_and_silence_is_zero():
    sound = np.random.default_rng(1).normal(0, 0.2, 12_000)
    np.testing.assert_allclose(log_mel(sound), log_mel(np.pad(sound, (0, 4_000))), atol=1e-6)
    noise = np.random.default_rng(2).normal(0, 0.1, 20_000)
    np.testing.assert_array_equal(log_mel(noise), log_mel(noise[:16_000]))
    np.testing.assert_allclose(log_mel(noise), log_mel(3 * noise), atol=1e-3)
    assert (log_mel(np.zeros(16_000)) == 0).all()
    assert (log_mel(np.zeros(0)) == 0).all()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tar(tmp_path_factory.mktemp("speech") / ARCHIVE, speech_commands_files())


@pytest.mark.parametrize("source", ["archive", "its folder", "unpacked"])
def test_recordings_are_split_by_the_lists_and_labelled_by_their_words(archive, tmp_path, source):
    path = archive if source == "archive" else archive.parent
    if source == "unpacked":
        path = tmp_path
        with tarfile.open(archive) as tar:
            tar.extractall(path, filter="data")
    sizes = {}
    for split in ("train", "val", "test"):
        words = open_speech_commands(path, split)
        assert words.classes == ["bed", "on", "yes"]
        sizes[split] = len(words)
        assert {int(name.split("/")[1][:8], 16) for name in words.paths} == {
            "test": {0},
            "val": {1},
            "train": {2, 3},
        }[split]
        for k in range(len(words)):
            features, label = words[k]
            assert features.shape == (101, 40)
            assert words.classes[label] == words.paths[k].split("/")[0]
            hertz = {"yes": 300, "bed": 600, "on": 900}[words.classes[label]]
            assert features[50].argmax() == log_mel(tone(hertz))[50].argmax()
    assert sizes == {"train": 6, "val": 3, "test": 3}


def features_of(words):
    return [words[k][0].tobytes() for k in range(len(words))]


def test_forked_processes_read_one_archive_at_the_same_time(archive):
    words = open_speech_commands(archive, "train")
    expected = features_of(words)
    fork = multiprocessing.get_context("fork")
    answers = [fork.SimpleQueue() for _ in range(3)]
    processes = [fork.Process(target=lambda to=to: to.put(features_of(words))) for to in answers]
    for process in processes:
        process.start()
    assert [to.get() for to in answers] == [expected] * 3
    for process in processes:
        process.join()


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("./validation_list.txt", None, r"has no file validation_list\.txt"),
        ("./yes/00000000_nohash_0.wav", None, r"1 recordings of testing_list\.txt are missing"),
        ("./bed/00000000_nohash_0.wav", b"RIFF", r"bed/00000000_nohash_0\.wav is not a readable \.wav"),
        ("./bed/00000000_nohash_0.wav", wav_bytes(tone(100), rate=8_000), "16 bits at 8,000 Hz"),
        ("./bed/00000000_nohash_0.wav", wav_bytes(tone(100), channels=2), "2 channels of 16 bits"),
    ],
)
def test_what_is_missing_or_in_another_form_is_named(tmp_path, name, data, expected):
    files = {**speech_commands_files(), name: data}
    path = write_tar(tmp_path / ARCHIVE, {key: value for key, value in files.items() if value is not None})
    with pytest.raises(UsageError, match=expected):
        open_speech_commands(path, "test")[0]


@pytest.mark.parametrize("ending", ["h5", "h5.gz"])
def test_spikes_of_shd_are_counted_by_time_step_and_unit(tmp_path, ending):
    pytest.importorskip("h5py")
    spikes = write_shd(tmp_path / f"shd_train.{ending}", labels=[3, 0, 19])
    for source in (tmp_path, tmp_path / f"shd_train.{ending}"):
        digits = open_shd(source, "train")
        assert (digits.labels.tolist(), len(digits.classes)) == ([3, 0, 19], 20)
        for k, (times, units) in enumerate(spikes):
            counts, label = digits[k]
            assert (counts.shape, counts.dtype, label) == ((100, 700), np.uint8, digits.labels[k])
            edges = np.linspace(0, 1.4, 101), np.arange(701) - 0.5
            expected, _, _ = np.histogram2d(times.astype(float), units, bins=edges)
            assert np.abs(counts.astype(float) - expected).sum() <= 2  # a time on the edge of two steps
            assert counts.sum() == len(times)


@pytest.mark.parametrize("name", ["speech-commands", "shd"])
def test_a_beton_holds_the_features_as_they_are(archive, tmp_path, name):
    pytest.importorskip("h5py")
    pytest.importorskip("ffcv")
    from sadp_dist.loading import BetonArrays, beton_labels, write_arrays

    write_shd(tmp_path / "shd_test.h5.gz", labels=[3, 0, 19])
    source = archive if name == "speech-commands" else tmp_path
    examples = open_dataset(name, source, "test", verify=False)
    assert write_arrays(examples, tmp_path / "test.beton", workers=1) == 3
    assert beton_labels(tmp_path / "test.beton").tolist() == examples.labels.tolist()
    arrays = BetonArrays(tmp_path / "test.beton")
    for k in range(3):
        assert examples[k][0].shape == DATASETS[name].shape
        np.testing.assert_array_equal(arrays[k][0], examples[k][0])


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 699)), max_size=30), st.integers(1, 20))
def test_no_spike_within_the_length_is_lost(spikes, steps):
    times, units = np.array([time for time, _ in spikes]), np.array([unit for _, unit in spikes])
    counts = spike_counts(times, units, steps, seconds=1.5)
    assert counts.shape == (steps, 700)
    assert counts.sum() == (times < 1.5).sum()


def test_a_file_that_is_not_that_of_shd_is_refused(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(UsageError, match=r"has neither shd_test\.h5 nor shd_test\.h5\.gz"):
        open_shd(tmp_path, "test")
    (tmp_path / "shd_test.h5").write_bytes(b"no such thing")
    with pytest.raises(UsageError, match=r"not an \.h5 file of this dataset"):
        open_shd(tmp_path, "test")
    write_shd(tmp_path / "shd_test.h5.gz", labels=[0])
    whole = (tmp_path / "shd_test.h5.gz").read_bytes()
    (tmp_path / "shd_test.h5.gz").write_bytes(whole[:-20])
    for split, expected in (("test", "download it again"), ("train", "is in the file shd_train.h5.gz")):
        with pytest.raises(UsageError, match=expected):
            open_shd(tmp_path / "shd_test.h5.gz", split)
