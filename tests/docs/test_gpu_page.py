"""The page about GPUs shows the record of a GPU beside a CPU's, and without one says that there is none."""

import json
import sys
from pathlib import Path

import pytest

from sadp_dist.selftest.part import PARTS

GENERATE = Path(__file__).parents[2] / "docs" / "generate"
sys.path.insert(0, str(GENERATE))
import gpu  # noqa: E402
import measured  # noqa: E402

STEP = "cost of scores, spiking_resnet18"
RATIO = "last layer / no scores, step"


def check(part, name, state="ok", reason="", traceback="", **figures):
    return {
        "part": part,
        "name": name,
        "state": state,
        "seconds": 1.0,
        "figures": {key.replace("_", " "): value for key, value in figures.items()},
        "reason": reason,
        "traceback": traceback,
    }


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Write records where the page reads them."""
    monkeypatch.setattr(gpu, "DEVICE", tmp_path / "device.json")
    monkeypatch.setattr(gpu, "REHEARSAL", tmp_path / "rehearsal.json")

    def write(name, *checks):
        record = {"version": "1", "seconds": 500.0, "checks": list(checks)}
        (tmp_path / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")

    return write


def test_without_a_record_of_a_gpu_the_pages_say_so(records):
    records("rehearsal", check("correctness", "scores, bf16"))
    assert gpu.sentence() == "Nothing has been measured on a GPU yet."
    assert "Not run yet" in gpu.markdown() and "| correctness | scores, bf16 | ok |" in gpu.markdown()


def test_figures_stand_beside_those_of_a_cpu_of_the_same_meaning(records):
    records("rehearsal", check("correctness", "scores, bf16", largest_relative_error=3e-7, seconds=9.0))
    records(
        "device",
        check("machine", "machine", device="a GPU", driver="1.2"),
        check("correctness", "scores, bf16", largest_relative_error=2e-7, seconds=0.5),
        {**check("cost", STEP), "figures": {RATIO: 1.02}},
        {**check("promise", "CIFAR-10"), "figures": {"SADP: [s, test accuracy]": [[8.0, 0.4], [16.0, 0.5]]}},
    )
    assert gpu.sentence() == "The self-test of a GPU passed on one a GPU."
    page = gpu.markdown()
    assert "device: a GPU; driver: 1.2" in page
    assert "| scores, bf16 | largest relative error | 2e-07 | 3e-07 |" in page
    assert "| scores, bf16 | seconds | 0.5 |  |" in page
    on_cpu = measured.figure(f"benchmarks/scoring_step.json > ratios > {RATIO} > .3f")
    assert f"| {STEP} | {RATIO} | 1.02 | {on_cpu} |" in page
    assert "40.0% (8 s) → 50.0% (16 s)" in page


def test_a_failure_is_shown_with_its_traceback(records):
    records(
        "device",
        check("machine", "machine", device="a GPU"),
        check("correctness", "pushes", "failed", "AssertionError: <bits>", "Traceback\n  line 1\n"),
    )
    assert gpu.sentence() == "The self-test of a GPU failed in 1 of 2 checks on one a GPU."
    assert "| pushes | failed: AssertionError: &lt;bits> | | |" in gpu.markdown()
    assert "### Traceback of: pushes\n\n```text\nTraceback\n  line 1\n```" in gpu.markdown()


def test_the_sentence_of_the_pages_is_compared_and_written_anew(records):
    records("device", check("machine", "machine", device="H200"))
    text = "It trains. <!-- said by: gpu -->Nothing has been measured on a GPU yet.<!-- end --> More."
    (line,) = measured.complaints(text)
    assert "should be 'The self-test of a GPU passed on one H200.'" in line
    written = measured.written_anew(text)
    assert list(measured.complaints(written)) == []
    assert measured.without_marks(written) == "It trains. The self-test of a GPU passed on one H200. More."


def test_the_rehearsal_on_the_page_has_every_check():
    record = json.loads((GENERATE.parent / "gpu" / "rehearsal.json").read_text(encoding="utf-8"))
    known = [check.name for part in PARTS for check in part.checks]
    again = "sadp-dist selftest --gpu --rehearse --out docs/gpu"
    assert [check["name"] for check in record["checks"]] == known, f"run: {again}"


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/results.md", "docs/gpu.md"])
def test_the_pages_take_their_sentence_about_gpus_from_the_record(page):
    text = (GENERATE.parents[1] / page).read_text(encoding="utf-8")
    assert text.count("<!-- said by: gpu -->") == 1
    assert list(measured.complaints(text)) == []
