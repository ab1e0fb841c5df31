# SPDX-License-Identifier: BSD-3-Clause
"""A real Slurm of four nodes on this machine, for tests (reliability.md, section 13).

Tests that use the fixture ``slurm_site`` carry ``pytest.mark.xdist_group("slurm")``, so that one worker of pytest-xdist
runs them all and only one Slurm is started.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bp_distributed import durable
from bp_distributed.child import PARENT
from bp_distributed.process_identity import is_alive, myself

NODES = ("n1", "n2", "n3", "n4")
CPUS, MEMORY_MB = 4, 5000
"""Of each node, as declared; the machine may have less."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
CURE = "install them with: sh deploy/debian.sh"

_PREFIX, _SHORT = "bpd-slurm-", "/tmp"  # noqa: S108 - sockets need a short path
_SBIN = "/usr/sbin:/sbin"
_PATIENCE_S = 120.0
_NODE = "BPD_TEST_NODE"

_CONF = """\
ClusterName=bpdtest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1
ReturnToService=2
KillWait=5
SlurmdTimeout=20
MinJobAge=3600
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no Slurm can be started here, or nothing."""
    absent = [program for program in PROGRAMS if _which(program) is None]
    if not sys.platform.startswith("linux"):
        return "a Slurm of the tests needs Linux"
    return f"no {', '.join(absent)} here; {CURE}" if absent else ""


class SlurmSite:
    """One running Slurm: munged, slurmctld and a slurmd per node, all children of this process.

    ``SLURM_CONF`` is set in this process's environment while it runs.
    """

    def __init__(self) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT))
        self.folder.chmod(0o711)  # munged wants its socket within everybody's reach
        (self.folder / "owner.json").write_bytes(durable.sealed_json(myself()))
        self.conf = self.folder / "slurm.conf"
        self._before = os.environ.get("SLURM_CONF")
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmSite":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        (self.folder / "state").mkdir(mode=0o700)
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} Sockets=1 "
            f"CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory={MEMORY_MB} State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        user = psutil.Process().username()
        self.conf.write_text(_CONF.format(host=host, port=ports[0], folder=self.folder, user=user, nodes=nodes))
        os.environ["SLURM_CONF"] = str(self.conf)
        files = {name: self.folder / f"munge.{name}" for name in ("key", "socket", "pid", "seed")}
        self._daemon("munged", "-F", *(f"--{_MUNGE.get(n, n)}={path}" for n, path in files.items()))
        self._wait(files["socket"].exists, "munged")
        self._daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node, wait=False)
        self._wait(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), "four idle nodes")

    def _daemon(self, program: str, *arguments: str, name: str = "", **environment: str) -> None:
        """Start a daemon in the foreground; it dies with this process."""
        command = [sys.executable, "-m", "bp_distributed.child", _which(program) or program, *arguments]
        environment |= {PARENT: str(os.getpid())}
        with (self.folder / f"{name or program}.out").open("ab") as out:
            self._daemons[name or program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment},
                start_new_session=True,
            )  # fmt: skip

    def _wait(self, condition, what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Slurm: no {what} after {_PATIENCE_S:.0f} s\n{self.logs()}")
            time.sleep(0.05)

    def logs(self) -> str:
        """Return the last lines of every daemon."""
        paths = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "\n".join(f"{path.name}: {line}" for path in paths for line in path.read_text().splitlines()[-5:])

    def stop(self) -> None:
        """End every daemon and every job, and remove the folder."""
        _kill(self.folder)
        for process in self._daemons.values():
            process.wait()
        if self._before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = self._before
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- nodes and jobs -------------------------------------------------------------------------------------------

    def kill_node(self, node: str) -> None:
        """SIGKILL everything that runs on a node, its slurmd first, as a power cut would."""
        _kill(self.folder, node)
        self._daemons.pop(node).wait()

    def start_node(self, node: str, *, wait: bool = True) -> None:
        """Start a node's slurmd; if ``wait``, return when jobs can start on it."""
        (self.folder / f"spool.{node}").mkdir(mode=0o700, exist_ok=True)
        self._daemon("slurmd", "-D", "-N", node, name=node, **{_NODE: node})
        if wait:
            self._wait(lambda: self.node_states()[node] == "idle", f"idle {node}")

    def node_states(self) -> dict[str, str]:
        """Return the state of each node, such as ``idle``, ``mix``, ``alloc``, ``down``."""
        found = self._ask("sinfo", "-h", "-N", "-o", "%N %t").split()
        return {node: state.rstrip("*") for node, state in zip(found[::2], found[1::2], strict=True)}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return every job that Slurm remembers, by id: the fields of ``scontrol show job``."""
        lines = self._ask("scontrol", "show", "job", "-o").splitlines()
        rows = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]
        return {row["JobId"]: row for row in rows if "JobId" in row}

    def submit(self, script: str, *options: str) -> str:
        """Submit a batch script, given as text; return the job's id."""
        done = subprocess.run(
            ["sbatch", "--parsable", *options], input=script, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def wait_for(self, job: str, *states: str) -> dict[str, str]:
        """Return a job's fields once it is in one of these states."""
        self._wait(lambda: self.jobs().get(job, {}).get("JobState") in states, f"job {job} in {' or '.join(states)}")
        return self.jobs()[job]

    def cancel_all(self) -> None:
        """End every job and wait until the nodes are free, so that the next test starts on an empty machine."""
        self._ask("scancel", f"--user={psutil.Process().username()}")
        self._wait(lambda: not self._ask("squeue", "-h"), "empty queue")

    def _ask(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout  # a controller that is not up yet says nothing


_MUNGE = {"key": "key-file", "pid": "pid-file", "seed": "seed-file"}


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SBIN)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below the range from which the kernel hands out ports to clients."""
    free, port = [], 20000 + os.getpid() % 10000
    while len(free) < count:
        port += 1
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
    return free


def _processes_of(folder: Path, node: str = "") -> list[psutil.Process]:
    """Return daemons, steps, tasks, in the order in which a power cut is played: nobody lives to report a death."""
    daemons, steps, tasks = [], [], []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid == os.getpid() or not is_up(process):
                continue
            if process.name() == "slurmstepd":  # it wipes its environment, but listens in its node's folder
                spool = f"{folder}/spool.{node}"
                steps += [process] * any(str(one.laddr).startswith(spool) for one in process.net_connections("unix"))
                continue
            environment = process.environ()
            where = environment.get("SLURMD_NODENAME", environment.get(_NODE))
            if environment.get("SLURM_CONF") == f"{folder}/slurm.conf" and node in {"", where}:
                (daemons if process.name() in PROGRAMS else tasks).append(process)
    below = [child for task in tasks for child in _children(task)]
    return [*daemons, *steps, *tasks, *below]


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _kill(folder: Path, node: str = "") -> None:
    """SIGKILL whatever belongs to a site or node until nothing does: a step may just be starting."""
    deadline = time.monotonic() + _PATIENCE_S
    while (processes := _processes_of(folder, node)) and time.monotonic() < deadline:
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        time.sleep(0.05)


def is_up(process: psutil.Process) -> bool:
    """Tell whether a process runs; in a container without an init process the dead stay zombies."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _sweep() -> None:
    """End what a killed test run of this user left behind."""
    for folder in Path(_SHORT).glob(f"{_PREFIX}*"):
        owner = durable.read_sealed(folder / "owner.json")
        if folder.stat().st_uid == os.getuid() and owner is not None and is_alive(owner) is False:
            _kill(folder)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm_session():
    """One Slurm for all tests of this run; skipped where Slurm cannot be had, but never in CI."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with SlurmSite() as site:
        yield site


@pytest.fixture
def slurm_site(slurm_session):
    """A running Slurm with four idle nodes and an empty queue."""
    yield slurm_session
    slurm_session.cancel_all()
    for node, state in slurm_session.node_states().items():
        if state == "down":
            slurm_session.start_node(node)
