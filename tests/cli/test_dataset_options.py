"""`--option`, `--time-steps` and `--imports` of `sadp-dist beton`: checked before anything is read."""

from __future__ import annotations

import pytest

from sadp_dist.cli.dataset_options import dataset_options
from sadp_dist.errors import UsageError


def test_options_are_those_of_the_datasets_section_with_its_types():
    given = ["seconds=0.5", "pattern={class}_{n}.wav", "test_files=5"]
    expected = {"seconds": 0.5, "pattern": "{class}_{n}.wav", "test_files": "5"}
    assert dataset_options("wav", given, None) == expected
    assert dataset_options("nmnist", [], 7) == {"time_steps": 7}
    assert dataset_options("cifar10", [], None) == {}


@pytest.mark.parametrize(
    ("dataset", "options", "time_steps", "expected"),
    [
        (
            "wav",
            ["second=2"],
            None,
            r"^--option='second' is not known; use one of .*; did you mean \"seconds\"\?$",
        ),
        ("wav", ["seconds"], None, "^--option 'seconds' must look like key=value$"),
        ("wav", ["seconds=0"], None, r"^--option: seconds='0' is not a number in \[0.01, 3600\]$"),
        ("wav", ["train=x"], None, "^--option='train' is not known"),
        ("cifar10", ["a=b"], None, "^--option 'a=b': dataset cifar10 has no options; leave it out$"),
        ("wav", [], 4, "^--time-steps 4: dataset wav has no events to make frames of; leave it out$"),
        ("nmnist", [], 0, "^--time-steps 0: must be at least 1$"),
        (
            "n-mnist",
            [],
            None,
            r"^--dataset='n-mnist' is not known; use one of .*; did you mean \"nmnist\"\?$",
        ),
    ],
)
def test_a_mistake_is_one_line(dataset, options, time_steps, expected):
    with pytest.raises(UsageError, match=expected):
        dataset_options(dataset, options, time_steps)
