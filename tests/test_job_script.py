# SPDX-License-Identifier: BSD-3-Clause
"""Scripts as text (golden files), as shell code (nothing a user writes gets out of its place), and as jobs.

After an intended change: ``python tests/test_job_script.py`` writes the golden files again; read the difference.
"""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bp_distributed.batch import JobState, Pbs, Slurm
from bp_distributed.errors import ConfigError
from bp_distributed.job_script import job_script
from bp_distributed.profile import Lane, Shape, read_profile, seconds_of, walltime_of

pytest_plugins = ("fake_pbs.site",)
GOLDEN = Path(__file__).parent / "golden"
PYTHON = "/opt/bp/bin/python"
EXAMPLES = 1000


def write(lane, folder="/campaign", *, tag=None, **more):
    return job_script(
        lane, tag=tag or lane.name, name="bpd-0a1b2c3d-1-x", scheduler="tls://10.0.0.1:8786",
        tls=Path(folder) / "tls" / "1", logs=Path(folder) / "jobs", **more,
    )  # fmt: skip


def lane_of(system="slurm", **more):
    given = {
        "name": "quench",
        "system": system,
        "cores": 4,
        "memory": 8,
        "walltime": "1:30:00",
        "python": PYTHON,
        "interface": "ib0",
    }
    return Lane.model_validate(given | more)


def shipped(profile, lane, **more):
    return read_profile(profile).lanes[lane].model_copy(update={"python": PYTHON, **more})


def golden_scripts():
    quench = shipped("slurm", "quench", prologue=("module load gcc/12",), queue="long", account="glass")
    return {
        "slurm-single": write(shipped("ci-slurm", "single")),
        "slurm-mpi": write(shipped("ci-slurm", "mpi"), exclude=("n3", "n4")),
        "slurm-ladder": write(quench.shaped(Shape("quench", 2, 4)), tag=Shape("quench", 2, 4).tag),
        "slurm-container": write(shipped("cray-slurm", "quench")),
        "pbs-single": write(shipped("pbs", "quench", memory=1.5, walltime="2-00:00:00")),
        "pbs-mpi": write(shipped("pbs-pro", "mpi")),
        "pbs-own-select": write(shipped("pbs-pro", "quench")),
        "sge-single": write(lane_of("sge", queue="all.q", account="glass", directives=["-pe smp 4"])),
        "lsf-single": write(lane_of("lsf", queue="normal", account="glass")),
        "lsf-mpi": write(lane_of("lsf", nodes=2, launcher=["mpirun", "-n", "{n}", "{cmd}"])),
    }


# ---- as text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(golden_scripts()))
def test_scripts_are_the_golden_ones(name):
    assert golden_scripts()[name] == (GOLDEN / f"{name}.sh").read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.sh")} == set(golden_scripts())


@pytest.mark.parametrize("name", sorted(golden_scripts()))
def test_scripts_are_shell_code(name):
    checked = subprocess.run(["/bin/bash", "-n", GOLDEN / f"{name}.sh"], capture_output=True, text=True, check=True)
    assert checked.stderr == ""


def test_settings_of_the_submitting_user_change_nothing(monkeypatch):
    plain = [write(lane_of(system)) for system in ("slurm", "pbs", "lsf")]
    monkeypatch.setenv("PBS_ACCOUNT", "other")
    theirs = {"queue": "other", "account": "other", "project": "other", "worker-extra-args": ["--preload", "evil"],
              "job-extra-directives": ["--mail-user=x"], "job-script-prologue": ["evil"], "log-directory": "/evil",
              "resource-spec": "evil", "extra": ["evil"], "env-extra": ["evil"], "worker-command": "evil",
              "interface": "evil", "shebang": "evil", "mem": 1, "ncpus": 1}  # fmt: skip
    with dask.config.set({f"jobqueue.{name}.{key}": theirs[key] for name in ("slurm", "pbs", "lsf") for key in theirs}):
        assert [write(lane_of(system)) for system in ("slurm", "pbs", "lsf")] == plain


def test_a_local_lane_has_no_script():
    lane = Lane(name="here", system="local", cores=2, workers=2, memory=1)
    with pytest.raises(ConfigError, match="lane here: system: got local, which has no batch jobs"):
        write(lane)


@pytest.mark.parametrize("folder", ["/a b", "/a\n#SBATCH --x", "/a$(x)", "/a:b", "/a,b", "/a'b", "/ü", "relative"])
def test_campaign_folders_that_a_batch_system_would_misread_are_refused(folder):
    with pytest.raises(ConfigError, match="move the campaign"):
        write(lane_of(), folder)


@pytest.mark.parametrize("lane", [{"tag": "x\ny"}, {"exclude": ("n1 --wrap",)}])
def test_what_our_own_code_passes_is_checked_too(lane):
    with pytest.raises(ValueError, match=r"tag|node"):
        write(lane_of(), **lane)


def test_writing_a_script_leaves_ctrl_c_alone_and_works_off_the_main_thread():
    code = f"""
import signal, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
before = signal.getsignal(signal.SIGINT)
from test_job_script import lane_of, write
written = []
thread = threading.Thread(target=lambda: written.append(write(lane_of())))
thread.start(); thread.join()
assert "dask_jobqueue" in sys.modules and signal.getsignal(signal.SIGINT) is before
assert written == [write(lane_of())]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)  # a shell's "&" ignores it


# ---- as shell code (S12) ------------------------------------------------------------------------------------------------

PIECES = ["a", "B7", "-", "--", ".", "/", "_", "=", ",", ":", "@", "+", "~", " ", "\t", "\n", "\r", "\x00", "\u2028", "\x85",
          ";", "&", "|", ">", "<<E", "$", "$(", ")", "${", "}", "`", "'", '"', "\\", "#", "!", "*", "?", "[", "]", "%", "{cmd}",
          "{n}", "{", "export", "--export=ALL", "-l select=", "touch CANARY", "\n#SBATCH --x", "\n#PBS -V", "é", "$TMPDIR", "/opt",
          "--qos=x", "-C y", "(", "if", "01:00:00", "1-"]  # fmt: skip
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
FIELDS = {  # field: what makes a lane of a text
    "queue": lambda text: {"queue": text},
    "account": lambda text: {"account": text},
    "interface": lambda text: {"interface": text},
    "python": lambda text: {"python": text},
    "container": lambda text: {"container": text},
    "scratch": lambda text: {"scratch": text},
    "walltime": lambda text: {"walltime": text},
    "directives": lambda text: {"directives": [text]},
    "launcher": lambda text: {"launcher": ["mpiexec", text, "{cmd}"], "workers": 1},
    "prologue": lambda text: {"prologue": [text]},
    "name": lambda text: {"name": text},
}
USUAL = {"queue": "usualq", "account": "usuala", "interface": "usuali", "python": "/usual/p", "container": "/usual.sif",
         "scratch": "/usual/s", "walltime": "1:00:00", "directives": "-C usual", "launcher": "-q", "prologue": "usual x",
         "name": "other"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("system", ["slurm", "pbs"])
@pytest.mark.parametrize("field", FIELDS)
def test_no_text_gets_out_of_its_place(field, system):
    """Refused, or in its own line and word of a script that is otherwise the same."""
    usual = "-l usual=x" if (field, system) == ("directives", "pbs") else USUAL[field]
    expected = write(lane_of(system, **FIELDS[field](usual))).splitlines()
    taken = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(TEXTS)
    def check(text):
        try:
            lane = lane_of(system, **FIELDS[field](text))
        except ValidationError:
            return
        nonlocal taken
        taken += 1
        script = write(lane)
        lines = script.removesuffix("\n").split("\n")
        own_select = field == "directives" and text.startswith("-l select=")
        kept = [line for line in expected if not (own_select and line.startswith("#PBS -l select="))]
        assert len(lines) == len(kept)
        for line, other in zip(lines, kept, strict=True):
            assert line == other or stands_in_its_place(field, text, line, other, usual)
        checked = subprocess.run(["/bin/bash", "-n"], input=script, capture_output=True, text=True, check=True)
        assert checked.stderr == ""

    check()
    assert taken


def stands_in_its_place(field, text, line, other, usual):
    """Tell whether a line differs from the usual one by the text alone, and that text is one word for a shell."""
    if field == "launcher":
        words = shlex.split(line.removeprefix("export BPD_LAUNCHER="))
        return [json.loads(word)[1] for word in words] == [text]
    if field == "walltime":
        seconds = seconds_of(text)
        return line in {other.replace("01:00:00", walltime_of(seconds)), other.replace("3600", str(seconds))}
    if field in {"python", "container", "interface"}:
        assert shlex.split(text) == [text]
    if field == "scratch":
        assert re.fullmatch(r"[\w$/.+-]+", text, re.ASCII)
        text = text.replace("$TMPDIR", "${TMPDIR:-/tmp}")
    return line == other.replace(usual, text)


ATTACKS = ["x\ntouch CANARY", "x\n#SBATCH --wrap=x", "x;touch CANARY", "$(touch CANARY)", "`touch CANARY`", "x\r#PBS -V",
           "x\u2028y", "x y", "'x", 'x"', "x&", ""]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "field", ["queue", "account", "interface", "python", "container", "scratch", "walltime", "name"]
)
def test_attacks_are_refused(field, attack):
    with pytest.raises(ValidationError):
        lane_of(
            **FIELDS[field](attack if field not in {"python", "container", "scratch"} else "/" * bool(attack) + attack)
        )


# ---- as jobs ----------------------------------------------------------------------------------------------------------

STUB = """#!/bin/bash
env > {folder}/env
printf '%s\\n' "$@" > {folder}/arguments
stat -c %a . > {folder}/mode
pwd > {folder}/pwd
"""


@pytest.fixture
def stub(tmp_path):
    """Return a folder with an interpreter that writes down how it was started."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "python").write_text(STUB.format(folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def run_to_the_end(system, script, folder):
    number = system.submit(script, folder / "jobs")
    deadline = time.monotonic() + 60
    while (job := next(job for job in system.jobs("bpd-") if job.id == number)).state is not JobState.ENDED:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    assert job.cause == "completed", [path.read_text() for path in (folder / "jobs").iterdir()]
    return number


def assert_started_well(folder, lane, number, before):
    environment = dict(re.findall(r"^(\w+)=(.*)$", (folder / "env").read_text(), re.MULTILINE))
    start = int(environment["BPD_DEADLINE"]) + lane.margin - lane.walltime_s
    assert before - 1 <= start <= time.time() + 1
    assert environment["BPD_JOB_ID"] == number
    assert environment["BPD_LANE"] == lane.name
    assert environment["BPD_NODES"] == str(lane.nodes)
    assert json.loads(environment["BPD_LAUNCHER"]) == list(lane.launcher)
    assert "AWS_SECRET" not in environment
    arguments = (folder / "arguments").read_text().split("\n")
    scratch = arguments[arguments.index("--local-directory") + 1]
    assert arguments[arguments.index("--name") + 1] == number
    assert (folder / "pwd").read_text().strip() == scratch
    assert (folder / "mode").read_text() == "700\n"
    assert not Path(scratch).exists()
    assert not any("hush" in path.read_text() for path in (folder / "jobs").iterdir())


@pytest.mark.xdist_group("slurm")
@pytest.mark.parametrize("name", ["single", "mpi"])
def test_a_slurm_job_knows_its_facts_and_no_secret(slurm_site, stub, monkeypatch, name):
    monkeypatch.setenv("AWS_SECRET", "hush")
    lane, before = shipped("ci-slurm", name, python=f"{stub}/python"), time.time()
    number = run_to_the_end(Slurm(0.01), write(lane, stub, exclude=("n1",)), stub)
    assert_started_well(stub, lane, number, before)
    job = slurm_site.jobs()[number]
    assert job["ExcNodeList"] == "n1"
    assert (job["NumNodes"], job["NumCPUs"], job["Requeue"]) == (str(lane.nodes), str(lane.nodes * lane.cores), "0")
    for question in (["scontrol", "show", "job", number], ["scontrol", "write", "batch_script", number, "-"]):
        assert "hush" not in subprocess.run(question, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["quench", "mpi"])
def test_a_pbs_job_knows_its_facts_and_no_secret(pbs_site, stub, monkeypatch, name):
    monkeypatch.setenv("AWS_SECRET", "hush")
    lane, before = shipped("pbs", name, python=f"{stub}/python", cores=2), time.time()
    number = run_to_the_end(Pbs(0.01), write(lane, stub), stub)
    assert_started_well(stub, lane, number, before)
    assert [path.name for path in sorted((stub / "jobs").iterdir())] == [f"{number}.OU", f"{number}.sh"]


if __name__ == "__main__":
    for golden_name, content in golden_scripts().items():
        (GOLDEN / f"{golden_name}.sh").write_text(content)
