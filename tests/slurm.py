"""A real Slurm on this machine: one node, a controller without accounting."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CPUS = 4
"""The node says it has so many, whatever the machine has: jobs of the tests mostly sleep."""
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=6
CryptoType=crypto/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")


class Slurm:
    """A real Slurm with one node; `environment` is what its commands need."""

    def __init__(self) -> None:
        """Start its programs, and wait until the node takes jobs."""
        # In /tmp itself: a socket's path is short, and munged, which is not root, must reach it.
        self.root = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.root.chmod(0o755)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = {"SLURM_CONF": str(self.root / "slurm.conf")}
        ports = _free_ports(2)
        config = CONFIG.format(
            host=socket.gethostname().partition(".")[0],
            root=self.root,
            controller=ports[0],
            node=ports[1],
            cpus=CPUS,
        )
        (self.root / "slurm.conf").write_text(config.lstrip())
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        for path in (self.root, key):
            shutil.chown(path, "munge", "munge")
        self._start(
            *("runuser", "-u", "munge", "--", "munged", "--foreground", "--force"),
            *(f"--socket={self.root}/munge.socket", f"--key-file={key}", f"--pid-file={self.root}/munged.pid"),
            *(f"--log-file={self.root}/munged.log", f"--seed-file={self.root}/munged.seed"),
        )
        wait_until((self.root / "munge.socket").exists)
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        wait_until(lambda: "idle" in self.command("sinfo", "--noheader", "--format=%T", check=False))

    def command(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands; its standard output."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def queue(self) -> list[tuple[str, str, str]]:
        """The jobs that wait or run: id, name, state."""
        lines = self.command("squeue", "--noheader", "--format=%i|%j|%T").splitlines()
        return [(job, name, state) for job, name, state in (line.split("|") for line in lines)]

    def stop(self) -> None:
        """End its jobs and its programs, and delete its files."""
        try:
            self.command("scancel", "--me", check=False)
            wait_until(lambda: not self.queue())
        finally:
            for process in reversed(self._processes):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)
            shutil.rmtree(self.root)

    def _start(self, *words: str) -> None:
        with (self.root / f"{len(self._processes)}.out").open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    words,
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, a minute at most."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm that runs. Skips where it is not installed, or its programs may not be started."""
    if os.getuid() != 0:
        pytest.skip("only root may start Slurm's programs")
    for program in PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"Slurm is not installed: {program} is missing")
    started = Slurm()
    yield started
    started.stop()
