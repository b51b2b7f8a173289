"""The `compression:` section: what is refused, and that reading it does not import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression import (
    COMPRESSIONS,
    CompressionConfig,
    build_compression,
    register_compression,
)


def test_every_method_is_there() -> None:
    assert build_compression(CompressionConfig()) is None
    for name, method in COMPRESSIONS.items():
        config = CompressionConfig(method=name)
        assert isinstance(build_compression(config), method)
        assert config.needs_momentum == (name != "qat")
    with pytest.raises(UsageError, match='compression method "qat" exists already'):
        register_compression("qat")(COMPRESSIONS["sparse-structure"])


QAT, PRUNING, SPARSE = ({"method": name} for name in ("qat", "activity-pruning", "sparse-structure"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"method": "quat"}, r"method='quat' is not known; use one of \"none\", .*did you mean \"qat\"\?"),
        (SPARSE | {"scope": "network"}, 'scope=\'network\' is not one of "layer", "neuron"'),
        (PRUNING | {"scope": "neuron"}, 'scope=\'neuron\' is not one of "layer", "network"'),
        (QAT | {"bits": 9}, r"bits=9 is not an integer in \[2, 8\]"),
        (QAT | {"bits": 4.5}, "bits=4.5 is not an integer"),
        (SPARSE | {"every": 0}, "every=0 is not an integer of at least 1"),
        (PRUNING | {"connectivity": 1.0}, r"connectivity=1.0 is not a number in \(0, 1\)"),
        (SPARSE | {"until": 0}, r"until=0 is not a number in \(0, 1\]"),
        (PRUNING | {"regrow": 1.0}, r"regrow=1.0 is not a number in \[0, 1\)"),
        (SPARSE | {"density": 1.5}, r"density=1.5 is not a number in \(0, 1\]"),
        (SPARSE | {"beta": True}, "beta=True is not a number"),
        (SPARSE | {"gamma": float("nan")}, "gamma=nan is not a number above 0"),
        (SPARSE | {"alpha": -1}, "alpha=-1 is not a number of at least 0"),
        (SPARSE | {"p": 1.0}, "p=1.0 must be below q=1.0"),
        (SPARSE | {"density": 0.2}, "density=0.2 must be at least connectivity=0.3"),
        ({"bits": 4}, 'bits is an option of method="qat", and method is "none"; remove bits'),
        (QAT | {"until": 1}, 'until is an option of method="activity-pruning" or method="sparse-structure"'),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}"):
        CompressionConfig(**keys)  # type: ignore[arg-type]


def test_a_run_in_which_nothing_would_be_rewired_is_refused() -> None:
    config = CompressionConfig(method="sparse-structure", every=9)
    config.check_epochs(12)
    with pytest.raises(UsageError, match="training.epochs=11 .* last possible rewiring is after epoch 8;"):
        config.check_epochs(11)
    with pytest.raises(UsageError, match="last possible rewiring is after epoch 8;"):
        CompressionConfig(method="sparse-structure", every=9, until=1.0).check_epochs(9)
    CompressionConfig(method="qat").check_epochs(1)


def test_the_configuration_does_not_import_torch() -> None:
    script = (
        "import sys; from sadp_dist.training import parse_config; from sadp_dist.errors import UsageError\n"
        "raw = {'name': 'run', 'data': {'train': 'a', 'test': 'b'}, 'training': {'epochs': 0}}\n"
        "try: parse_config(raw)\n"
        "except UsageError: pass\n"
        "parse_config({**raw, 'training': {'epochs': 1}, 'scoring': {'layers': 'all'}})\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
