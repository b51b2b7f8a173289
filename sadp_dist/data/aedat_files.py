"""Write events in the AEDAT formats of event cameras, which SpikingJelly reads."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from sadp_dist.data.event_frames import Events

_HEADER = struct.Struct("<2H6I")
"""Header of an AEDAT 3.1 packet: event type, source, event size, offset of the timestamp, number of timestamp
overflows, capacity, number of events, number of valid events."""
POLARITY = 1
"""The event type of a change in brightness."""


def write_aedat2(path: Path, events: Events) -> None:
    """Write an AEDAT 2.0 file of a DVS128 camera, as in CIFAR10-DVS: big-endian pairs of address and time.

    The camera counts x and y from the opposite corner, swaps them, and writes 1 for a darker pixel.
    """
    address = (127 - events["x"] << 8) | (127 - events["y"] << 1) | (1 - events["p"])
    pairs = np.stack([address, events["t"]], axis=1).astype(">u4")
    path.write_bytes(b"#!AER-DAT2.0\r\n# Simulated\r\n" + pairs.tobytes())


def write_aedat3(path: Path, events: Events, per_packet: int = 4096) -> None:
    """Write an AEDAT 3.1 file, as in DVS128 Gesture: packets of polarity events of 8 bytes each."""
    data = (events["x"] << 17) | (events["y"] << 2) | (events["p"] << 1) | 1  # the last bit: it is valid
    pairs = np.stack([data, events["t"]], axis=1).astype("<u4")
    packets = []
    for start in range(0, len(pairs), per_packet):
        packet = pairs[start : start + per_packet]
        packets.append(_HEADER.pack(POLARITY, 0, 8, 4, 0, len(packet), len(packet), len(packet)))
        packets.append(packet.tobytes())
    path.write_bytes(b"#!AER-DAT3.1\r\n# Simulated\r\n#!END-HEADER\r\n" + b"".join(packets))
