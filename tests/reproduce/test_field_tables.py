"""Pruning with other ways to train: tables from runs whose figures are known, and what a step costs."""

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from sadp_dist.reproduce import EXPERIMENTS, efficient_inference, sltt
from sadp_dist.reproduce.experiment import summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job_runner import run_jobs
from sadp_dist.reproduce.methods import FULL, LABELS
from sadp_dist.reproduce.published_systems import SLTT_TABLE_S2, TABLE_IX, TABLE_X, TABLE_XI
from sadp_dist.reproduce.step_costs import StepCost, step_cost
from sadp_dist.training.export import Exported

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ["table8", "table9", "table10", "table11", "sparse", "sltt"]


def figures_of(job):
    """Figures that tell a run by its seed and ratio; InfoBatch trains on more than it should."""
    pruning, compression = job.config.pruning, job.config.compression
    ratio = 0 if pruning.method == "full" else pruning.ratio
    more = 0.2 if pruning.method == "infobatch" else 0
    found = {
        "test_accuracy": 0.6 - 0.2 * ratio + 0.01 * job.seed,
        "total_examples": round(10_000 * (1 - ratio + more)),
        "total_seconds": 100.0 * (1 - ratio),
    }
    if compression.method in ("activity-pruning", "sparse-structure"):
        found |= {"connectivity": 0.25, "parameters": 3e6, "synaptic_operations": 2e6 * (1 + job.seed)}
    return found


def exported(job):
    return Exported(True, 4_000, 1_000, 0.5, 0.4, 10)


def cost(config):
    """Memory by T with BPTT alone; time with every rule."""
    T = config.network.time_steps
    return StepCost(2.0 * T, (T if config.learning.rule == "bptt" else 1) * 2**20)


@pytest.fixture
def results(imagined, write_runs, monkeypatch):
    """An experiment's result at small scale."""
    monkeypatch.setattr(efficient_inference, "export_of", exported)
    monkeypatch.setattr(sltt, "step_cost", cost)

    def of(name, diverged=()):
        experiment = EXPERIMENTS[name]
        write_runs([job for job in experiment.jobs(imagined) if job.name not in diverged], figures_of)
        return experiment.result(imagined, dict.fromkeys(diverged, "diverged: the loss is nan"))

    return of


def rows_of(table):
    headings, rows = table.shown()
    return {row[0]: list(zip(headings[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_small_scale_and_has_full_data_and_sadp_for_each_system(name, results, imagined):
    result = results(name)
    assert all("small scale" in table.title for table in result.tables)
    for system in EXPERIMENTS[name].systems(imagined):
        full = result.tables[0].rows[f"{system.name}, full data"]
        assert full[0].mean == pytest.approx(61)
        assert ("sadp" in system.methods) == (system.name != "dense")
        for (method, ratio), jobs in EXPERIMENTS[name].runs(imagined, system).items():
            assert [job.seed for job in jobs] == [0, 1, 2]
            assert {job.config.pruning.method for job in jobs} == {method}
            column = result.tables[0].columns.index(f"{ratio:.0%}")
            assert result.tables[0].rows[f"{system.name}, {LABELS[method]}"][column] is not None


def test_what_was_generated_is_said_to_be(results):
    assert all("generated" in table.title for table in results("table9").tables)


def test_the_papers_figures_stand_beside_and_what_was_not_pruned_enough_is_marked(results):
    accuracy, takes = results("table10").tables
    rows = rows_of(accuracy)
    assert rows["DECOLLE, full data"][:2] == [("0%", "61.00 ± 1.00"), ("paper", "61.96 ± 0.44")]
    assert rows["ELL, SADP"][2:] == [("50%", "51.00 ± 1.00"), ("paper", "87.11 ± 0.09")]
    assert rows["ELL, InfoBatch"][2] == ("50%", "51.00 ± 1.00*")
    assert "*: trained on more" in accuracy.note
    assert rows_of(takes)["ELL, InfoBatch 50%"] == [("examples relative to full data", "0.700 ± 0.000")]


def test_a_run_that_diverged_is_named_so(results, imagined):
    one = EXPERIMENTS["table10"].jobs(imagined)[0].name
    accuracy, takes = results("table10", [one]).tables
    assert str(accuracy.rows["DECOLLE, full data"][0]) == "61.50 ± 0.71 (1 diverged)"
    assert str(takes.rows["DECOLLE, SADP 50%"][0]) == "0.500 ± 0.000 (1 diverged)"


def test_table_viii_has_times_as_shares_of_full_datas(results):
    rows = rows_of(results("table8").tables[1])
    assert rows["PSN, SADP 35%"][1:] == [
        ("time, s", "65.0 ± 0.0"), ("time relative to full data", "0.650 ± 0.000"), ("paper", "0.65"),
    ]  # fmt: skip
    assert rows["T-RevSNN, digits, full data"][2] == ("time relative to full data", "1.000 ± 0.000")


def test_table_xi_has_the_size_of_the_exported_file(results):
    rows = rows_of(results("table11").tables[1])
    names = ["8-bit file, bytes", "relative to float32", "accuracy of the file, %"]
    cells = [("connectivity, %", "25.00 ± 0.00"), *zip(names, ("1000", "0.250", "40.00"), strict=True)]
    assert rows["activity pruning, full data"][1:] == cells
    assert rows["8 bits, full data"][1:] == [("connectivity, %", ""), *cells[1:]]


def test_sparse_networks_have_connectivity_parameters_and_operations_beside_the_papers(results):
    rows = rows_of(results("sparse").tables[1])
    assert rows["neuron-wise, full data"][1:] == [
        ("connectivity, %", "25.000 ± 0.000"), ("paper", "40.58"),
        ("parameters, M", "3.000 ± 0.000"), ("paper", "5.12"),
        ("SOPs, M", "4.000 ± 2.000"), ("paper", "158.35"),
    ]  # fmt: skip
    assert rows["dense, full data"][1][1] == ""


def test_memory_and_time_are_of_each_rule_and_number_of_steps_and_of_bptts(results):
    _, _, memory, seconds = results("sltt").tables
    assert rows_of(memory)["SLTT"] == [
        ("T = 2", "1.0"), ("T = 6", "1.0"), ("T = 20", "1.0"),
        ("T = 6, relative to BPTT", "0.17"), ("paper", "0.36"),
    ]  # fmt: skip
    assert rows_of(memory)["TBPTT, 2 steps"][0] == ("T = 2", "")  # which is BPTT
    assert rows_of(seconds)["BPTT"][:3] == [("T = 2", "4.0"), ("T = 6", "12.0"), ("T = 20", "40.0")]


def test_figures_are_as_the_papers_have_them():
    assert str(TABLE_IX["eprop"]["sadp", 0.9]) == "85.46 ± 0.12"
    assert str(TABLE_XI["qat"]["full", 0.0]) == "92.04 ± 0.07"
    for grid in (*TABLE_IX.values(), *TABLE_X.values(), *TABLE_XI.values()):
        assert len(grid) == 1 + 3 * 3
        for (method, ratio), figure in grid.items():
            if method in ("random", "infobatch"):
                assert figure.mean < grid["sadp", ratio].mean <= grid["full", 0.0].mean
    assert all(SLTT_TABLE_S2["sltt", T][0].mean < SLTT_TABLE_S2["bptt", T][0].mean for T in (2, 4, 6))


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_every_system_is_a_run_of_a_recipe_that_ships(scale, tmp_path):
    setting = ExperimentSetting(scale, (0,), tmp_path, tmp_path, CONFIGS)
    jobs = {job.name: job for name in NAMES for job in EXPERIMENTS[name].jobs(setting)}
    configs = [job.config for job in jobs.values()]
    assert {config.learning.rule for config in configs} == {
        "bptt", "tbptt", "sltt", "ottt", "eprop", "decolle", "ell",
    }  # fmt: skip
    assert {config.compression.method for config in configs} == {
        "none", "qat", "activity-pruning", "sparse-structure",
    }  # fmt: skip
    sparse = [config.compression for config in configs if config.compression.method == "sparse-structure"]
    assert {compression.scope for compression in sparse} == {"layer", "neuron"}
    for config in configs:
        assert config.training.loss == "tet" or config.learning.rule == "bptt"
    names = {config.network.name for config in configs}
    kinds = {config.network.neuron.kind for config in configs}
    if scale == "paper":
        assert {"sew_resnet18", "t_revsnn_resnet18", "recurrent_snn_plain", "spiking_resnet19"} <= names
        assert all(config.training.epochs in (100, 200) for config in configs)
    else:
        assert {"vgg11_ws", "nf_resnet34", "t_revsnn_small"} <= names
        assert kinds == {"lif", "psn", "masked_psn", "sliding_psn"}


def test_the_memory_of_a_real_step_grows_with_time_under_bptt_alone(trained):
    def bytes_of(rule, time_steps):
        job = trained.job("cifar10", {"learning.rule": rule, **sltt.EACH_STEP}, 0)
        job = dataclasses.replace(job, overrides={**job.overrides, "network.time_steps": time_steps})
        found = step_cost(job.config)
        assert found.epoch_seconds > 0
        return found.peak_bytes

    assert bytes_of("bptt", 6) > 2 * bytes_of("bptt", 2)
    assert bytes_of("sltt", 6) == bytes_of("sltt", 2)


def test_a_real_run_is_exported_and_evaluated(trained):
    job = trained.job("cifar10", {**FULL, "compression.method": "qat", "training.epochs": 2}, 0)
    assert run_jobs([job], 1, Console(quiet=True)) == {}
    found = efficient_inference.export_of(job)
    assert found.trained_so
    assert found.bytes < 0.5 * found.float_bytes
    assert found.accuracy == summary_of(job)["test_accuracy"]
