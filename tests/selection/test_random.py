"""Keyed random numbers: what splitmix64 gives, for any example alone."""

from __future__ import annotations

import numpy as np

from sadp_dist.selection import uniform
from sadp_dist.selection.random import Stream, bits, stream_key

MASK = 2**64 - 1


class SplitMix64:
    """The published generator (Steele, Lea, Flood 2014), in Python's integers."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)


def test_bits_are_the_outputs_of_splitmix64() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(bits(np.uint64(1234567), i)) for i in range(4)] == published
    generator = SplitMix64(MASK - 5)
    assert [int(bits(np.uint64(MASK - 5), i)) for i in range(100)] == [generator.next() for _ in range(100)]


def test_a_key_mixes_seed_epoch_and_stream() -> None:
    def once(x: int) -> int:
        return SplitMix64(x & MASK).next()

    assert int(stream_key(MASK, 7, Stream.SHUFFLE)) == once(once(once(MASK) + 7) + Stream.SHUFFLE)
    keys = {int(stream_key(s, e, k)) for s in range(20) for e in range(20) for k in Stream}
    assert len(keys) == 20 * 20 * len(Stream)


def test_uniform_numbers_do_not_depend_on_who_else_is_asked_for() -> None:
    everyone = uniform(3, 1, range(1000))
    assert everyone.dtype == np.float64
    some = np.array([[999, 0], [5, 5]])
    np.testing.assert_array_equal(uniform(3, 1, some), everyone[some])
    assert not np.any(everyone == uniform(3, 2, range(1000)))
    assert not np.any(everyone == uniform(4, 1, range(1000)))
    assert not np.any(everyone == uniform(3, 1, range(1000), Stream.SHUFFLE))


def test_uniform_numbers_are_uniform() -> None:
    u = np.sort(uniform(0, 0, range(100_000)))
    assert u[0] >= 0 and u[-1] < 1
    distance = np.abs(u - (np.arange(len(u)) + 0.5) / len(u)).max()
    assert distance < 1.63 / np.sqrt(len(u)), "beyond the 1 % point of the Kolmogorov-Smirnov distance"
