"""The figures as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.store.redis_server import until

pytestmark = pytest.mark.slow


def test_every_figure_of_a_run_is_there(dashboard, training):
    found = samples(dashboard)
    stats = training.stats()
    for name, value in {
        "epoch": stats.epoch,
        "ratio": stats.ratio,
        "subset_size": stats.subset_size,
        "dataset_size": stats.dataset_size,
        "seen_examples": stats.seen,
        "largest_weight": stats.largest_weight,
        "effective_sample_size": stats.effective_sample_size,
        "gamma": stats.gamma,
        "capped_examples": stats.capped,
        "staleness_mean_epochs": stats.staleness_mean,
        "pushes_total": stats.pushes,
        "pushed_scores_total": stats.pushed_scores,
        "rejected_pushes_total": 0,
        "received_bytes_total": stats.bytes_received,
        "memory_bytes": stats.memory_bytes,
        "waiting_ranks": 0,
        "ranks": 1,
        "planner_up": 1,
    }.items():
        assert found[f"sadp_dist_{name}", ("digits",)] == pytest.approx(value), name
    for quantile, value in stats.score_quantiles.items():
        assert found["sadp_dist_score", ("digits", quantile)] == pytest.approx(value)
    latest = training.history()[-1].training
    assert found["sadp_dist_training", ("digits", "loss")] == pytest.approx(latest["loss"])
    assert found["sadp_dist_training", ("digits", "test_accuracy")] == pytest.approx(latest["test_accuracy"])
    assert found["sadp_dist_up", ()] == 1


def test_frames_that_cannot_be_read_are_counted_by_reason(dashboard, server, training):
    with server.client() as client:
        log = next(key for key in client.keys("sadp_dist:*") if client.type(key) == b"stream")
        client.xadd(log, {"f": b"nonsense"})
    until(lambda: any(name == "sadp_dist_bad_frames_total" for name, _ in samples(dashboard)))
    (reasons,) = (labels for name, labels in samples(dashboard) if name == "sadp_dist_bad_frames_total")
    assert reasons == ("digits", next(iter(training.stats().bad_frames)))


def samples(dashboard) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and values of the labels, "run" first -> value."""
    families = text_string_to_metric_families(dashboard.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.values(), key="digits".__ne__))): sample.value
        for family in families
        for sample in family.samples
    }
