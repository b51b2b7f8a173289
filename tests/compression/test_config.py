"""The `compression:` section: what is refused, and that reading it does not wait for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression import COMPRESSIONS, CompressionConfig, build_compression
from sadp_dist.snn.compression.base import register_compression
from sadp_dist.snn.compression.config import METHODS, NEEDS_MOMENTUM


def test_every_method_is_there() -> None:
    assert ["none", *sorted(COMPRESSIONS)] == ["none", *sorted(METHODS[1:])]
    assert set(NEEDS_MOMENTUM) <= set(COMPRESSIONS)
    assert build_compression(CompressionConfig()) is None
    for name, method in COMPRESSIONS.items():
        assert isinstance(build_compression(CompressionConfig(name)), method)
    with pytest.raises(UsageError, match='method="qat" is taken'):
        register_compression("qat")(COMPRESSIONS["qat"])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"method": "quat"}, r"method='quat' is not known; .*did you mean \"qat\"\?"),
        ({"method": "sparse-structure", "scope": "network"}, "scope='network' is not known"),
        ({"method": "activity-pruning", "scope": "neuron"}, "scope='neuron' is not known"),
        ({"bits": 9}, "bits=9 is not a whole number from 2 to 8"),
        ({"bits": 4.0}, "bits=4.0 is not a whole number"),
        ({"every": 0}, "every=0 is not a whole number of at least 1"),
        ({"connectivity": 1.0}, r"connectivity=1.0 is not a number in \(0, 1\)"),
        ({"until": 0}, r"until=0 is not a number in \(0, 1\]"),
        ({"regrow": 1.0}, r"regrow=1.0 is not a number in \[0, 1\)"),
        ({"density": 1.5}, r"density=1.5 is not a number in \(0, 1\]"),
        ({"beta": True}, "beta=True is not a number"),
        ({"gamma": float("nan")}, "gamma=nan is not a number above 0"),
        ({"alpha": -1}, "alpha=-1 is not a number of at least 0"),
        ({"p": 1.0}, "p=1.0 must be below q=1.0"),
        ({"method": "sparse-structure", "density": 0.2}, "density=0.2 is below connectivity=0.3"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        CompressionConfig(**keys)  # type: ignore[arg-type]


def test_a_run_in_which_nothing_would_be_rewired_is_refused() -> None:
    config = CompressionConfig("sparse-structure", every=9)
    config.check_epochs(12)
    with pytest.raises(UsageError, match="of 11 epochs the last .* is number 8"):
        config.check_epochs(11)
    with pytest.raises(UsageError, match="is number 8"):
        CompressionConfig("sparse-structure", every=9, until=1.0).check_epochs(9)
    CompressionConfig("qat").check_epochs(1)


def test_the_configuration_does_not_wait_for_torch() -> None:
    script = "import sys; import sadp_dist.snn.compression.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
