"""Frames: what was encoded comes back; anything else is one of a few named faults, and nothing worse."""

import random
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadp_dist.store.engine.frames import MAX_COUNT, REASONS, BadFrame, Frame, decode, encode
from sadp_dist.store.engine.run import LONGEST_NAME, MAX_FIGURES, Figures, Records

TOKEN = 2**63 + 12345
N = 1000
HEADER, CHECKSUM = 48, slice(44, 48)
FIELDS = {  # where each field of the header lies
    "magic": slice(0, 4),
    "version": slice(4, 5),
    "kind": slice(5, 6),
    "rejected": slice(6, 8),
    "token": slice(8, 16),
    "client": slice(16, 24),
    "sequence": slice(24, 32),
    "epoch": slice(32, 36),
    "pushes": slice(36, 40),
    "count": slice(40, 44),
    "checksum": CHECKSUM,
}


@st.composite
def frames(draw, dataset_size: int = N, min_count: int = 0) -> Frame:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, dataset_size - 1),
                st.floats(0, width=32, allow_nan=False, allow_infinity=False),
            ),
            min_size=min_count,
            max_size=20,
        )
    )
    return Frame(
        client=draw(st.integers(0, 2**64 - 1)),
        sequence=draw(st.integers(1, 2**64 - 1)),
        pushes=draw(st.integers(0, 2**32 - 1)),
        content=Records(
            np.array([index for index, _ in rows], np.int64),
            np.array([score for _, score in rows], np.float32),
            draw(st.integers(0, 2**31 - 1)),
        ),
        rejected=draw(st.integers(0, 2**16 - 1)),
    )


NAMES = st.from_regex(rf"[A-Za-z][A-Za-z0-9_./-]{{0,{LONGEST_NAME - 1}}}", fullmatch=True)


@st.composite
def frames_of_figures(draw) -> Frame:
    values = draw(
        st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=MAX_FIGURES)
    )
    return Frame(
        client=draw(st.integers(0, 2**64 - 1)),
        sequence=draw(st.integers(1, 2**64 - 1)),
        pushes=0,
        content=Figures(draw(st.integers(0, 2**31 - 1)), values),
        rejected=draw(st.integers(0, 2**16 - 1)),
    )


def contents(frame: Frame) -> tuple:
    records = frame.content
    return (
        (frame.client, frame.sequence, frame.pushes, frame.rejected, records.epoch),
        records.indices.tolist(),
        records.scores.tobytes(),
    )


def fault(data: bytes, dataset_size: int = N) -> str:
    """Why some bytes are refused; "" if they are a frame."""
    try:
        decode(data, TOKEN, dataset_size)
    except BadFrame as bad:
        return str(bad)
    return ""


def sealed(data: bytearray) -> bytes:
    """The same with the checksum that belongs to it."""
    checksum = zlib.crc32(data[HEADER:], zlib.crc32(data[: CHECKSUM.start]))
    return bytes(data[: CHECKSUM.start]) + checksum.to_bytes(4, "little") + bytes(data[HEADER:])


@given(st.data(), st.sampled_from([1, N, 2**32, 2**32 + 1, 2**40]))
def test_what_was_encoded_is_decoded_with_indices_of_either_width(data, dataset_size):
    frame = data.draw(frames(dataset_size))
    encoded = encode(frame, TOKEN, dataset_size)
    assert len(encoded) == HEADER + frame.count * (8 if dataset_size <= 2**32 else 12)
    decoded = decode(memoryview(encoded), TOKEN, dataset_size)
    assert contents(decoded) == contents(frame)
    assert (decoded.content.indices.dtype, decoded.content.scores.dtype) == (np.int64, np.float32)


@given(frames_of_figures())
def test_figures_that_were_encoded_are_decoded(frame):
    encoded = encode(frame, TOKEN, N)
    assert len(encoded) == HEADER + len(frame.content.values) * (LONGEST_NAME + 8)
    assert decode(memoryview(encoded), TOKEN, N) == frame


def test_a_frame_is_laid_out_as_its_description_says():
    records = Records(np.array([3, 258]), np.array([1.0, 0.5], np.float32), epoch=9)
    data = encode(Frame(client=7, sequence=5, pushes=2, content=records, rejected=1), TOKEN, N)
    numbers = {name: int.from_bytes(data[where], "little") for name, where in FIELDS.items()}
    assert data[:4] == b"SADP"
    assert {**numbers, "magic": 0, "checksum": 0} == {
        "magic": 0,
        "version": 1,
        "kind": 4,
        "rejected": 1,
        "token": TOKEN,
        "client": 7,
        "sequence": 5,
        "epoch": 9,
        "pushes": 2,
        "count": 2,
        "checksum": 0,
    }
    assert data[HEADER:] == bytes.fromhex("03000000 02010000 0000803f 0000003f")
    assert numbers["checksum"] == zlib.crc32(data[HEADER:], zlib.crc32(data[:44]))


@given(st.data())
def test_a_change_in_any_field_of_the_header_has_its_reason(data):
    frame = data.draw(frames(min_count=1))
    encoded = bytearray(encode(frame, TOKEN, N))
    name = data.draw(st.sampled_from(list(FIELDS)))
    where = FIELDS[name]
    other = data.draw(st.binary(min_size=where.stop - where.start, max_size=where.stop - where.start))
    if other == encoded[where]:
        return
    encoded[where] = other
    if name == "kind":
        expected = {4: "", 8: "truncated", 0: "truncated"}.get(other[0], "not a frame")
    elif name == "count":
        claimed = int.from_bytes(other, "little")
        expected = "oversized" if claimed < frame.count or claimed > MAX_COUNT else "truncated"
    else:
        expected = {"magic": "not a frame", "version": "version"}.get(name, "checksum")
    assert fault(bytes(encoded)) == expected


@given(st.data())
def test_a_change_in_the_payload_is_seen_by_the_checksum(data):
    encoded = bytearray(encode(data.draw(frames(min_count=1)), TOKEN, N))
    place = data.draw(st.integers(HEADER, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    assert fault(bytes(encoded)) == "checksum"


@given(st.data())
def test_a_frame_that_was_cut_is_truncated_and_one_with_more_behind_it_oversized(data):
    encoded = encode(data.draw(frames()), TOKEN, N)
    assert fault(encoded[: data.draw(st.integers(0, len(encoded) - 1))]) == "truncated"
    assert fault(encoded + data.draw(st.binary(min_size=1, max_size=50))) == "oversized"


@given(frames(), st.integers(0, 2**64 - 1))
def test_a_whole_frame_with_another_token_is_a_foreign_run(frame, token):
    assert fault(encode(frame, token, N)) == ("" if token == TOKEN else "foreign run")


@pytest.mark.parametrize(
    ("index", "score", "epoch"),
    [
        (N, 1.0, 0),
        (2**32 - 1, 1.0, 0),
        (3, float("nan"), 0),
        (3, float("inf"), 0),
        (3, -1.0, 0),
        (3, 1.0, 2**31),
    ],
)
@pytest.mark.parametrize("dataset_size", [N, 2**33])
def test_values_that_no_push_may_have_are_refused_behind_a_checksum_that_holds(
    index, score, epoch, dataset_size
):
    index = index if dataset_size == N or index == 3 else 2**33 + index
    good = Records(np.array([1, 2]), np.ones(2, np.float32), 0)
    bad = Records(np.array([1, index]), np.array([1, score], np.float32), epoch)
    assert fault(encode(Frame(1, 1, 1, good), TOKEN, dataset_size), dataset_size) == ""
    assert fault(encode(Frame(1, 1, 1, bad), TOKEN, dataset_size), dataset_size) == "values"


def test_no_frame_is_larger_than_the_largest():
    largest = Records(np.zeros(MAX_COUNT, np.int64), np.zeros(MAX_COUNT, np.float32), 0)
    one_more = Records(np.zeros(MAX_COUNT + 1, np.int64), np.zeros(MAX_COUNT + 1, np.float32), 0)
    assert fault(encode(Frame(1, 1, 1, largest), TOKEN, N)) == ""
    assert fault(encode(Frame(1, 1, 1, one_more), TOKEN, N)) == "oversized"


def figures_as(rows: list[tuple[bytes, float]], pushes: int = 0, epoch: int = 0) -> bytes:
    """A frame with these names and values, its checksum right, whatever they are."""
    data = bytearray(encode(Frame(1, 1, pushes, Figures(epoch, {})), TOKEN, N))
    data[FIELDS["count"]] = len(rows).to_bytes(4, "little")
    for name, value in rows:
        data += name.ljust(LONGEST_NAME, b"\0") + np.float64(value).tobytes()
    return sealed(data)


@pytest.mark.parametrize(
    "data",
    [
        figures_as([(b"", 1.0)]),
        figures_as([(b"1st", 1.0)]),
        figures_as([(b"<b>", 1.0)]),
        figures_as([(b"a\0b", 1.0)]),
        figures_as([("ä".encode("latin-1"), 1.0)]),
        figures_as([(b"loss", float("nan"))]),
        figures_as([(b"loss", float("inf"))]),
        figures_as([(b"loss", 1.0), (b"loss", 2.0)]),
        figures_as([(b"loss", 1.0)], pushes=1),
        figures_as([(b"loss", 1.0)], epoch=2**31),
    ],
)
def test_figures_that_nobody_may_record_are_refused_behind_a_checksum_that_holds(data):
    assert fault(figures_as([(b"loss", 1.0)])) == ""
    assert fault(data) == "values"


def test_no_more_figures_are_taken_than_an_epoch_has():
    rows = [(b"f%d" % number, 1.0) for number in range(MAX_FIGURES + 1)]
    assert fault(figures_as(rows[:-1])) == ""
    assert fault(figures_as(rows)) == "oversized"


INPUTS = 1_000_000


def damaged_frames(seed: int, count: int):
    """Frames with bytes changed, cut, moved, doubled or sealed anew; and now and then one as it was."""
    chance = random.Random(seed)
    numbers = np.random.default_rng(seed)
    whole = []
    for dataset_size in (N, N, 2**33):
        for length in (0, 1, 3, 20):
            records = Records(
                numbers.integers(0, N, length), numbers.random(length, np.float32), int(numbers.integers(9))
            )
            whole.append(encode(Frame(chance.getrandbits(64), 5, 2, records), TOKEN, dataset_size))
    for length in (0, 1, 9):
        figures = Figures(3, {f"figure/{number}": numbers.random() for number in range(length)})
        whole.append(encode(Frame(chance.getrandbits(64), 6, 0, figures), TOKEN, N))
    extreme = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\x01", b"\x04", b"\x08")
    pick, below = chance.choice, chance.randrange
    for _ in range(count):
        data = bytearray(pick(whole))
        for _ in range(below(4)):
            kind = below(7)
            at = below(len(data)) if data else 0
            if kind == 0 and data:
                data[at] ^= 1 << below(8)
            elif kind == 1:
                data[at : at + 4] = pick(extreme) * 4
            elif kind == 2:
                data[at : at + 8] = chance.randbytes(8)
            elif kind == 3:
                del data[at:]
            elif kind == 4:
                data += data[at:] or b"\x00"
            elif kind == 5:
                name = pick(list(FIELDS.values()))
                data[name] = chance.randbytes(name.stop - name.start)
            else:
                data = bytearray(chance.randbytes(below(200)))
        yield sealed(data) if below(2) and len(data) >= HEADER else bytes(data)


@pytest.mark.slow
def test_a_million_damaged_frames_are_refused_or_are_what_they_say():
    faults = dict.fromkeys(REASONS, 0)
    whole = 0
    for data in damaged_frames(seed=1, count=INPUTS):
        try:
            frame = decode(data, TOKEN, N)
        except BadFrame as bad:
            faults[str(bad)] += 1  # KeyError: a reason of another name
        else:
            whole += 1
            width = 2**33 if data[5] == 8 else N
            assert encode(frame, TOKEN, width) == data
            assert not frame.count or frame.content.indices.max() < N
    assert whole + sum(faults.values()) == INPUTS
    assert min(whole, *faults.values()) > INPUTS / 1000, (whole, faults)  # each was met many times


@pytest.mark.slow
def test_decoding_allocates_no_more_than_the_frame_is_large():
    largest = Records(np.arange(MAX_COUNT) % N, np.ones(MAX_COUNT, np.float32), 0)
    claims = bytearray(encode(Frame(1, 1, 1, largest), TOKEN, N))[: HEADER + 80]  # a million, it says
    inputs = [
        *damaged_frames(seed=2, count=20_000),
        bytes(claims),
        encode(Frame(1, 1, 1, largest), TOKEN, N),
    ]
    fault(inputs[0])  # compiles
    tracemalloc.start()
    try:
        for data in inputs:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            fault(data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before <= len(data) + 8192, len(data)  # an exception with its trace takes some
    finally:
        tracemalloc.stop()
