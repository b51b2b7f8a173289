"""Every place of the package that does something else on a GPU is reached by a test in this folder."""

import ast
from pathlib import Path

from sadp_dist.selftest.part import CORRECTNESS
from tests.gpu.branches import branches, branches_in

HERE = Path(__file__).parent
PUSHES = "pushes have the same bits and do not wait"
WAITS = "a step waits for nothing"
AUTOAUGMENT = "a step with AutoAugment waits for nothing"
KINDS = "a step of every learning rule, neuron and compression"
PRECISIONS = "runs in each precision learn and push every score"
GROUPED = "a run with a process group"
RESUMED = "a checkpoint restores a run"
FFCV = "FFCV's loader to the device"
TORCH = "torch's loader to the device"
FP16 = "scores, fp16 with GradScaler"
EXACT = "scores, exact norms of the last layer"
DOCTOR = "test_the_doctor_finds_the_gpu_and_nccl"
REPRODUCE = "test_a_process_of_reproduce_takes_its_gpu_and_names_it"
STEP_COST = "test_the_cost_of_a_step_is_the_gpus"
RANK = "test_a_run_trains_on_the_gpu_that_its_rank_names"

TABLE = {
    "cli/selftest:_need_gpu": "test_the_command_names_the_gpu",
    "doctor/configuration:_processes": DOCTOR,
    "doctor/machine:distributed": DOCTOR,
    "doctor/machine:gpus": DOCTOR,
    "loading/augment:pad_crop_flip": WAITS,
    "loading/autoaugment:_ConstantsSent.__torch_function__": AUTOAUGMENT,
    "loading/autoaugment:_to": AUTOAUGMENT,
    "loading/epoch_reader:EpochReader.run": FFCV,
    "loading/epoch_reader:EpochReader.run_pipeline": FFCV,
    "loading/epoch_reader:EpochReader.stop": FFCV,
    "loading/ffcv_loader:FFCVLoader._start": FFCV,
    "loading/ffcv_loader:FFCVLoader._to_device": FFCV,
    "loading/ffcv_loader:_array_pipeline": FFCV,
    "loading/ffcv_loader:_decoded": FFCV,
    "loading/torch_loader:TorchLoader.__init__": TORCH,
    "loading/torch_loader:TorchLoader._weighted": TORCH,
    "reproduce/job_runner:_begin": REPRODUCE,
    "reproduce/output:_machine": REPRODUCE,
    "reproduce/step_costs:step_cost": STEP_COST,
    "reproduce/step_costs:step_cost.step": STEP_COST,
    "scoring/scorer:SpikeAwareScorer._exact_norms": EXACT,
    "scoring/scorer:SpikeAwareScorer.scores": FP16,
    "snn/compression/operations:operations": KINDS,
    "snn/learning/bptt:BPTT.learn": PRECISIONS,
    "snn/learning/local:LocalRule.backward_chunk": KINDS,
    "snn/learning/rule:Passes": KINDS,
    "snn/learning/stepwise:StepwiseRule._encoding": KINDS,
    "snn/learning/stepwise:StepwiseRule.learn": KINDS,
    "snn/lif_neuron:build_lif": "test_compiled_neurons_have_scores",
    "snn/psn:_Parallel.fire": KINDS,
    "snn/reversible:_Reversible.backward": KINDS,
    "snn/reversible:_Reversible.forward": KINDS,
    "store/client/buffer:_Push": PUSHES,
    "store/client/buffer:_copy_to_pinned": PUSHES,
    "store/client/buffer:_event_after": PUSHES,
    "store/client/buffer:_is_on_cuda": PUSHES,
    "training/checkpoint:random_state": RESUMED,
    "training/checkpoint:restore_random_state": RESUMED,
    "training/config:OptimizationConfig": PRECISIONS,
    "training/dry_run:dry_run": "test_a_dry_run_tells_the_peak_of_the_gpus_memory",
    "training/learner:Learner.__init__": PRECISIONS,
    "training/learner:Learner._build": PRECISIONS,
    "training/learner:Learner._wrap": GROUPED,
    "training/learner:Learner.autocast": PRECISIONS,
    "training/device_sums:DeviceSums.__init__": WAITS,
    "training/device_sums:DeviceSums.recent": "test_the_progress_bar_reads_sums_that_have_arrived",
    "training/memory:memory_figures": PRECISIONS,
    "training/optimizer:build_optimizer": WAITS,
    "training/processes:device_of": RANK,
    "training/processes:join_job": "test_two_gpus_train_one_run_with_nccl",
    "training/trainer:Trainer.__init__": PRECISIONS,
    "training/trainer:Trainer._inputs": WAITS,
    "training/trainer:Trainer.evaluate": PRECISIONS,
    "training/trainer:Trainer.train_batch": WAITS,
    "training/trainer:Trainer.train_epoch": PRECISIONS,
}
"""Each place, as "module:function", and the test that reaches it: a check of the self-test, each of which
test_on_gpu_checks.py runs as a test, or a function of another file here."""


def test_the_table_has_every_place_and_no_other():
    assert sorted(TABLE) == sorted(branches()), "complete the table, with a test that reaches the new place"


def test_the_tests_of_the_table_exist():
    functions = {
        node.name
        for file in HERE.glob("test_on_gpu_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    known = functions | {check.name for check in CORRECTNESS.checks}
    assert set(TABLE.values()) <= known


def test_a_new_place_would_be_found():
    code = """
import torch.cuda
class Loader:
    def pin(self, x):
        return x.to("cpu", non_blocking=True)
    def plain(self, x):
        return re.compile(x)
def fast(network):
    "On cuda it is fast."
    return torch.compile(network) if x.is_cuda else "nccl"
"""
    assert set(branches_in(ast.parse(code))) == {"Loader.pin", "fast"}
