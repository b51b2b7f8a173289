"""A real Slurm cluster: its controller on this machine, its nodes on hosts of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.network import Network
from tests.ports import free_port
from tests.store.redis_server import until

CONFIGURATION = """
ClusterName=test
SlurmctldHost={controller}({here})
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
StateSaveLocation={folder}/state
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerParameters=requeue_delay=1,sched_interval=2
KillWait=1
OverTimeLimit=1
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class SlurmCluster:
    """Within `with`, a Slurm runs on the hosts of a network; skips where Slurm is not installed.

    Args:
        folder: for its files.
        network: its hosts are the nodes.

    Attributes:
        environment: with which sbatch and others find it.
    """

    def __init__(self, folder: Path, network: Network) -> None:
        missing = [name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
        if missing:
            pytest.skip(f"no Slurm on this machine: {', '.join(missing)} missing (apt-get install slurm-wlm)")
        (folder / "state").mkdir(parents=True)
        self.folder, self._network = folder, network
        lines = [
            f"NodeName={host.name} NodeAddr={host.address} CPUs=2 RealMemory=2000\n" for host in network.hosts
        ]
        self._spool = tempfile.mkdtemp(prefix="slurm-")  # with sockets in it, whose paths must be short
        text = CONFIGURATION.format(
            controller=socket.gethostname(),
            here=network.here,
            port=free_port(),
            folder=folder,
            spool=self._spool,
        )
        (folder / "slurm.conf").write_text(text + "".join(lines))
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # nothing uses them
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        self._start("slurmctld", "-D")
        for host in self._network.hosts:
            self._start(*host.command("slurmd", "-D", "-N", host.name))
        try:
            until(lambda: self.ask("sinfo", "-h", "-o", "%T").split() == ["idle"], otherwise=self.logs)
        except AssertionError:
            self._stop()
            raise
        return self

    def _start(self, *command: str) -> None:
        with (self.folder / "daemons.log").open("ab") as log:
            self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def ask(self, *command: str) -> str:
        """What a command of Slurm's prints; nothing where it fails."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout

    def submit(self, *arguments: object, **variables: str) -> str:
        """sbatch; the number of the job."""
        done = subprocess.run(
            ["sbatch", "--parsable", *map(str, arguments)],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait(self, job: str, timeout: float = 200) -> str:
        """The state in which a job ended."""

        def ended() -> str | None:
            state = self.ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()
            return None if state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "") else state

        return until(ended, timeout, self.logs)

    def logs(self) -> str:
        """What its daemons have said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def __exit__(self, *_: object) -> None:
        for job in self.ask("squeue", "-h", "-o", "%i").split():
            self.ask("scancel", job)
        until(lambda: not self.ask("squeue", "-h").strip())
        self._stop()

    def _stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(240)
        shutil.rmtree(self._spool, ignore_errors=True)
