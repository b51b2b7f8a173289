"""Which lines of torchrun's log tests leave out."""

from tests.torchrun_log import without_exit_barrier

AGENT = "E1201 10:49:43.980000 7076 torch/distributed/elastic/agent/server/api.py:1007] "
BARRIER = f"""\
{AGENT}Error waiting on exit barrier. Elapsed: 0.0017 seconds
{AGENT}Traceback (most recent call last):
{AGENT}  File "torch/distributed/elastic/agent/server/api.py", line 993, in _exit_barrier
{AGENT}    store_util.barrier(
{AGENT}torch.distributed.DistNetworkError: Connection reset by peer
"""


def test_an_exit_barrier_that_was_cut_off_is_left_out_and_nothing_else():
    assert without_exit_barrier(f"epoch 1\n{BARRIER}epoch 2\n{BARRIER}") == "epoch 1\nepoch 2\n"


def test_every_other_error_of_an_agent_stays():
    timed_out = BARRIER.replace("DistNetworkError: Connection reset by peer", "DistStoreError: timed out")
    failed = f"{AGENT.replace('1007', '874')}failed (exitcode: 1) local_rank: 0 (pid: 7)\n"
    assert without_exit_barrier(timed_out + failed + BARRIER) == timed_out + failed
