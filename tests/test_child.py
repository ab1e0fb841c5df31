# SPDX-License-Identifier: BSD-3-Clause
"""Children: their own process group, explicit environment, deadline, stop, and death with the parent."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from bp_distributed.child import child_environment, default_launcher, mpi_command, run_child
from bp_distributed.errors import InfrastructureError

PATIENCE_S = 5.0  # reliability.md F09: an orphan is gone within 5 s


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, patience_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_exit_code_output_and_memory_are_recorded(tmp_path):
    result = run_child(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), tmp_path, 30)
    assert result.code == 3
    assert result.stopped == ""
    assert result.max_rss_bytes > 1 << 20
    assert (tmp_path / "stdout").read_text() == "out\n"
    assert (tmp_path / "stderr").read_text() == "err\n"


def test_a_signal_is_a_negative_code(tmp_path):
    assert run_child(python("import os; os.abort()"), tmp_path, 30).code == -signal.SIGABRT


def test_the_child_leads_a_group_of_its_own_in_its_folder(tmp_path):
    run_child(python("import os; print(os.getpid() == os.getpgrp(), os.getcwd())"), tmp_path, 30)
    assert (tmp_path / "stdout").read_text().split() == ["True", str(tmp_path)]


def test_the_environment_is_explicit(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("AWS_SECRET", "x")
    environment = child_environment(threads=3)
    assert not {"SLURM_JOB_ID", "PMI_RANK", "AWS_SECRET"} & set(environment)
    assert environment["OMP_NUM_THREADS"] == "3"


def test_the_deadline_ends_the_whole_group(tmp_path):
    code = """
        import subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(grandchild.pid, flush=True)
        time.sleep(60)
    """
    result = run_child(python(code), tmp_path, deadline_s=1.5)
    assert result.stopped == "timeout"
    assert wait_until(lambda: gone(int((tmp_path / "stdout").read_text())))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("bp_distributed.child.GRACE_S", 0.3)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    result = run_child(python(code), tmp_path, deadline_s=1.0)
    assert (result.stopped, result.code) == ("timeout", -signal.SIGKILL)


def test_stop_is_asked_and_its_reason_kept(tmp_path):
    started = time.monotonic()
    result = run_child(
        python("import time; time.sleep(60)"),
        tmp_path,
        60,
        stop=lambda: "cancelled" if time.monotonic() - started > 0.5 else "",
    )
    assert result.stopped == "cancelled"


def test_an_error_while_waiting_ends_and_reaps_the_child(tmp_path):
    def fail():
        raise ValueError("the listener broke")

    before = psutil.Process().children()  # zombies included
    with pytest.raises(ValueError, match="the listener broke"):
        run_child(python("import time; time.sleep(60)"), tmp_path, 60, stop=fail)
    assert psutil.Process().children() == before


@pytest.mark.fault
def test_f09_a_step_dies_with_its_worker(tmp_path):
    """SIGKILL the parent; the step (here one that would sleep) must not outlive it."""
    step = "from bp_distributed.child import die_with_parent as d; d(); print('ready', flush=True); import time; time.sleep(60)"
    parent = f"""
        import os, sys
        from pathlib import Path
        from bp_distributed.child import run_child
        run_child([sys.executable, "-c", "import os; print(os.getpid(), flush=True); {step}"], Path({str(tmp_path)!r}), 60)
    """
    worker = subprocess.Popen(python(parent))
    try:
        assert wait_until(lambda: (tmp_path / "stdout").exists() and "ready" in (tmp_path / "stdout").read_text(), 20)
        pid = int((tmp_path / "stdout").read_text().split()[0])
        assert not gone(pid)
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert wait_until(lambda: gone(pid))


def test_a_child_may_reach_only_whom_it_should(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PMI_RANK", "0")
    assert child_environment(1, "alone")["UCX_TLS"] == "self"
    assert "posix" in child_environment(1, "node")["UCX_TLS"]
    assert not {"SLURM_JOB_ID", "PMI_RANK"} & set(child_environment(1, "node"))
    assert {"SLURM_JOB_ID", "PMI_RANK"} < set(child_environment(1, "nodes"))
    assert "UCX_TLS" not in child_environment(1, "nodes")


def test_a_launcher_template_is_filled_in():
    launcher = ("srun", "-N", "{nodes}", "-n", "{n}", "-c", "{threads}", "--mpi=pmi2", "{cmd}", "--end")
    command = mpi_command(["program", "{n}"], ranks=4, threads=3, nodes=2, launcher=launcher)
    wanted = ["srun", "-N", "2", "-n", "4", "-c", "3", "--mpi=pmi2", "program", "{n}", "--end"]
    assert command == [sys.executable, "-m", "bp_distributed.child", *wanted]


def test_the_launcher_without_ports_is_preferred(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("mpiexec", "mpiexec.gforker"):
        (tmp_path / name).touch(mode=0o755)
        assert default_launcher() == (str(tmp_path / name), "-n", "{n}", "{cmd}")


def test_a_missing_launcher_names_its_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InfrastructureError, match="no mpiexec found; install MPI, for instance with: pip install mpich"
    ):
        default_launcher()


def test_ranks_know_their_number_and_speak_to_each_other(tmp_path):
    pytest.importorskip("mpi4py")
    code = python("from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank + 1))")
    assert run_child(mpi_command(code, ranks=2), tmp_path, 60, reach="node").code == 0
    assert (tmp_path / "stdout").read_text().split() == ["3", "3"]


@pytest.mark.fault
@pytest.mark.parametrize("launcher", ["mpiexec.gforker", "mpiexec"])
def test_f09_ranks_die_with_their_worker(tmp_path, launcher):
    """SIGKILL the parent of the launcher; neither it nor a rank must stay."""
    pytest.importorskip("mpi4py")
    program = shutil.which(launcher, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"this MPI has no {launcher}")
    rank = """if True:
        import os, time
        from bp_distributed.child import die_with_launcher
        die_with_launcher()
        from mpi4py import MPI
        print(os.getpid(), os.getppid(), "ready", flush=True)
        time.sleep(60)
    """
    parent = f"""
        import sys
        from pathlib import Path
        from bp_distributed.child import mpi_command, run_child
        command = mpi_command([sys.executable, "-c", {rank!r}], 2, launcher=({program!r}, "-n", "{{n}}", "{{cmd}}"))
        run_child(command, Path({str(tmp_path)!r}), 60, reach="node")
    """
    output = tmp_path / "stdout"
    worker = subprocess.Popen(python(parent))
    try:
        assert wait_until(lambda: output.exists() and output.read_text().count("ready") == 2, 30)
        pids = {int(word) for word in output.read_text().split() if word != "ready"}
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert len(pids) == 3
    assert wait_until(lambda: all(gone(pid) for pid in pids))
