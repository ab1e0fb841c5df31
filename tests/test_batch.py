# SPDX-License-Identifier: BSD-3-Clause
import getpass
import itertools
import json
import stat
import subprocess
import time

import pytest
import yaml
from slurm_campaign import TEXT, TOYS, drive, ended
from small_campaign import write_campaign

from bp_distributed.batch import BatchJob, JobState, Pbs, Slurm, batch_system, expand_nodes
from bp_distributed.errors import ConfigError, InfrastructureError
from bp_distributed.profile import shipped_profiles
from bp_distributed.strict_yaml import read_yaml

pytest_plugins = ("fake_pbs.site",)
DELAY_S = 0.01
PATIENCE_S = 30.0


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "jobs").mkdir(mode=0o700)
    return tmp_path / "jobs"


def script(prefix, name, command, *directives):
    lines = "\n".join(f"{prefix} {line}" for line in directives)
    return f"#!/bin/bash\n{lines}\n{command}\n"


def job_of(system, number, *states):
    """Return a job once it is in one of these states."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        job = {job.id: job for job in system.jobs("bpd-")}[number]
        if job.state in states:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


# ---- node lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("", ()),
        ("(null)", ()),
        ("None assigned", ()),
        ("n1", ("n1",)),
        ("n[1-3,7]", ("n1", "n2", "n3", "n7")),
        ("n[08-11],login1", ("n08", "n09", "n10", "n11", "login1")),
        ("r[1-2]n[3,5]-ib", ("r1n3-ib", "r1n5-ib", "r2n3-ib", "r2n5-ib")),
    ],
)
def test_node_lists_are_expanded(text, nodes):
    assert expand_nodes(text) == nodes


# ---- Slurm ------------------------------------------------------------------------------------------------------------

slurm = pytest.mark.xdist_group("slurm")


def sbatch(system, folder, name, command, *directives):
    return system.submit(script("#SBATCH", name, command, f"-J {name}", "--no-requeue", *directives), folder, "quench")


@slurm
@pytest.mark.parametrize("text", ["n[1-3,7]", "n[098-101]", "a1,b[2-3],c", "x[1-2]y[1-2]"])
def test_node_lists_are_expanded_as_slurm_does(slurm_site, text):
    theirs = subprocess.run(["scontrol", "show", "hostnames", text], capture_output=True, text=True, check=True)
    assert expand_nodes(text) == tuple(theirs.stdout.split())


@slurm
def test_slurm_jobs_from_submission_to_their_end(slurm_site, folder):
    system = Slurm(DELAY_S)
    good = sbatch(system, folder, "bpd-good", "true")
    odd = sbatch(system, folder, "bpd-odd|name", "exit 3")
    held = sbatch(system, folder, "bpd-held", "true", "--hold")
    wide = sbatch(system, folder, "bpd-wide", "sleep 60", "-N 2")
    sbatch(system, folder, "other", "true")
    running = job_of(system, wide, JobState.RUNNING)
    assert len(running.nodes) == 2
    assert set(running.nodes) <= {"n1", "n2", "n3", "n4"}
    assert job_of(system, good, JobState.ENDED).cause == "completed"
    assert job_of(system, odd, JobState.ENDED) == BatchJob(
        odd, "bpd-odd|name", JobState.ENDED, "failed", job_of(system, odd, JobState.ENDED).nodes
    )
    assert job_of(system, held, JobState.PENDING) == BatchJob(held, "bpd-held", JobState.PENDING)
    assert "other" not in {job.name for job in system.jobs("bpd-")}
    system.cancel([wide, held, good])  # one runs, one waits, one has ended already
    assert job_of(system, wide, JobState.ENDED).cause == "cancelled"
    assert job_of(system, held, JobState.ENDED).cause == "cancelled"


@slurm
def test_a_script_is_kept_under_its_job_s_id_and_only_for_its_owner(slurm_site, folder):
    number = sbatch(Slurm(DELAY_S), folder, "bpd-kept", "true", "-o /dev/null")
    assert [path.name for path in folder.iterdir()] == [f"{number}.sh"]
    assert stat.S_IMODE((folder / f"{number}.sh").stat().st_mode) == 0o600


@slurm
def test_a_dead_node_is_told_from_a_failed_job(slurm_site, folder):
    system = Slurm(DELAY_S)
    number = sbatch(system, folder, "bpd-lost", "sleep 100", "-w n4")
    job_of(system, number, JobState.RUNNING)
    slurm_site.kill_node("n4")
    subprocess.run(["scontrol", "update", "NodeName=n4", "State=DOWN", "Reason=test"], check=True)
    assert job_of(system, number, JobState.ENDED) == BatchJob(
        number, "bpd-lost", JobState.ENDED, "node_failure", ("n4",)
    )
    subprocess.run(["scontrol", "update", "NodeName=n4", "State=RESUME"], check=True)
    slurm_site.start_node("n4")


@slurm
def test_variables_of_the_submitting_shell_change_nothing(slurm_site, folder, monkeypatch):
    for name, value in {"SBATCH_EXPORT": "ALL", "SBATCH_HOLD": "1", "SBATCH_PARTITION": "nope",
                        "SBATCH_REQUEUE": "1", "SQUEUE_FORMAT": "%A", "CANARY": "sings"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    system = Slurm(DELAY_S)
    number = sbatch(system, folder, "bpd-env", "env", "--export=NONE", f"-o {folder}/out")
    job_of(system, number, JobState.ENDED)
    assert slurm_site.jobs()[number]["Requeue"] == "0"
    assert "SLURM_JOB_ID" in (folder / "out").read_text()
    assert "CANARY" not in (folder / "out").read_text()


@slurm
@pytest.mark.parametrize(
    ("directive", "said"),
    [("-p nope", "Invalid partition name specified"), ("--mem=900G", "Requested node configuration is not available")],
)
def test_slurm_refuses_in_one_sentence_that_names_the_lane(slurm_site, folder, directive, said):
    with pytest.raises(ConfigError, match=f"^lane quench: sbatch refused the job: .*{said}$") as caught:
        sbatch(Slurm(DELAY_S), folder, "bpd-refused", "true", directive)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


# ---- a command that is not well -----------------------------------------------------------------------------------------


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return a function that puts a shell script of a name first on the path; each call adds a line to ``<name>.calls``."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    def make(name, code):
        calls = tmp_path / f"{name}.calls"
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho x >> {calls}\n{code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
        return calls

    return make


@pytest.fixture
def sick_sbatch(tool):
    """Return a function for an ``sbatch`` that fails ``times`` times with ``message`` before it gives an id."""

    def make(times, message):
        calls = "${0%/bin/*}/sbatch.calls"
        answer = f'[ $(wc -l < {calls}) -gt {times} ] && echo "7;here" && exit 0'
        return tool("sbatch", f'{answer}\necho "{message}" >&2\nexit 1')

    return make


def test_a_busy_server_is_asked_again(sick_sbatch, folder):
    tries = sick_sbatch(2, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    assert sbatch(Slurm(DELAY_S), folder, "bpd-x", "true") == "7"
    assert len(tries.read_text().split()) == 3


def test_a_server_that_stays_busy_is_given_up(sick_sbatch, folder):
    tries = sick_sbatch(99, "sbatch: error: Unable to contact slurm controller (connect failure)")
    with pytest.raises(InfrastructureError, match="sbatch failed 4 times: Unable to contact slurm controller"):
        sbatch(Slurm(DELAY_S), folder, "bpd-x", "true")
    assert len(tries.read_text().split()) == 4
    assert list(folder.iterdir()) == []


def test_a_refusal_is_not_asked_again(sick_sbatch, folder):
    said = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    tries = sick_sbatch(1, f"sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: {said}")
    with pytest.raises(
        ConfigError, match=r"^lane quench: sbatch refused the job: AssocMaxSubmitJobLimit; .*QOS policy"
    ):
        sbatch(Slurm(DELAY_S), folder, "bpd-x", "true")
    assert len(tries.read_text().split()) == 1


def test_waiting_doubles(sick_sbatch, folder, monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    sick_sbatch(3, "Socket timed out")
    sbatch(Slurm(1.0), folder, "bpd-x", "true")
    waited = [seconds for seconds in waited if seconds > 0.5]  # subprocess waits for its children in small sleeps
    assert len(waited) == 3
    assert all(1.3 < later / earlier < 3.1 for earlier, later in itertools.pairwise(waited))


ACCOUNTS = """\
1|COMPLETED|n1|bpd-a|b
2|OUT_OF_MEMORY|n1|bpd-big
3|CANCELLED by 0|n[1-2]|bpd-wide
4|RUNNING|n1|bpd-run
5|RUNNING|n3|bpd-forgotten
6|CANCELLED by 0|None assigned|bpd-held
"""
"""As sacct of Slurm 22.05 with slurmdbd printed it for jobs that the controller had forgotten."""


def test_jobs_that_the_controller_forgot_are_in_the_accounts(tool):
    tool("squeue", "echo '4|RUNNING|n1|bpd-run'")
    calls = tool("sacct", f"echo \"$@\" > $0.arguments\ncat <<'X'\n{ACCOUNTS}X")
    assert [(job.id, job.cause, job.nodes) for job in Slurm(DELAY_S).jobs("bpd-")] == [
        ("4", "", ("n1",)),
        ("1", "completed", ("n1",)),
        ("2", "out_of_memory", ("n1",)),
        ("3", "cancelled", ("n1", "n2")),
        ("6", "cancelled", ()),
    ]
    assert "--starttime=now-7days" in (calls.parent / "bin" / "sacct.arguments").read_text()


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Slurm accounting storage is disabled", 1),
        ("sacct: error: Unable to connect to database: Connection refused", 2),
    ],
)
def test_accounts_are_nice_to_have(tool, said, asked):
    tool("squeue", "echo '4|RUNNING|n1|bpd-run'")
    calls = tool("sacct", f"echo '{said}' >&2; exit 1")
    system = Slurm(DELAY_S)
    assert [job.id for job in system.jobs("bpd-") + system.jobs("bpd-")] == ["4", "4"]
    assert len(calls.read_text().split()) == asked


def test_a_machine_without_the_commands_says_so(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(
        ConfigError, match=r"^sbatch: is not on the path of .*; run this on a machine that submits jobs"
    ):
        sbatch(Slurm(DELAY_S), folder, "bpd-x", "true")


@pytest.mark.parametrize("number", ["-u root", "--all", "1;2", "", "1 2"])
def test_only_ids_are_cancelled(number):
    with pytest.raises(ValueError, match="is not a job id"):
        Slurm(DELAY_S).cancel([number])


@pytest.mark.parametrize("system", ["local", "lsf"])
def test_systems_without_commands_are_refused(system):
    with pytest.raises(ConfigError, match=f"system: got {system}, expected one of slurm, pbs"):
        batch_system(system)


# ---- PBS --------------------------------------------------------------------------------------------------------------


def qsub(system, folder, name, command, *directives):
    output = f"-o {folder}/"
    return system.submit(script("#PBS", name, command, f"-N {name}", "-j oe", output, *directives), folder, "quench")


@pytest.mark.parametrize("told", ["json", "text"])
def test_pbs_jobs_from_submission_to_their_end(pbs_site, folder, told):
    if told == "text":
        (pbs_site.home / "no_json").touch()
    system = Pbs(DELAY_S)
    good = qsub(system, folder, "bpd-good", "true")
    bad = qsub(system, folder, "bpd-bad", "exit 3")
    shot = qsub(system, folder, "bpd-shot", "kill -SEGV $$")
    slow = qsub(system, folder, "bpd-slow", "sleep 60", "-l walltime=00:00:01")
    wide = qsub(system, folder, "bpd-wide", "sleep 60", "-l select=2:ncpus=3:mpiprocs=3:mem=1gb", "-l place=scatter")
    held = qsub(system, folder, "bpd-held", "true", "-h")
    qsub(system, folder, "other", "true")
    assert job_of(system, wide, JobState.RUNNING).nodes == ("n1", "n2")
    assert job_of(system, held, JobState.PENDING) == BatchJob(held, "bpd-held", JobState.PENDING)
    for number, cause in ((good, "completed"), (bad, "failed"), (shot, "failed"), (slow, "timeout")):
        assert job_of(system, number, JobState.ENDED).cause == cause
    assert "other" not in {job.name for job in system.jobs("bpd-")}
    system.cancel([wide, held, good])
    assert job_of(system, wide, JobState.ENDED).cause == "cancelled"
    assert job_of(system, held, JobState.ENDED).cause == "cancelled"


def test_pbs_jobs_wait_for_room(pbs_site, folder):
    system = Pbs(DELAY_S)
    first = [qsub(system, folder, f"bpd-{k}", "sleep 60", "-l select=1:ncpus=4") for k in range(4)]
    last = qsub(system, folder, "bpd-last", "true")
    assert job_of(system, last, JobState.PENDING).nodes == ()
    system.cancel(first[:1])
    assert job_of(system, last, JobState.ENDED).cause == "completed"


def test_a_pbs_server_without_history_still_shows_live_jobs(pbs_site, folder):
    (pbs_site.home / "no_history").touch()
    system = Pbs(DELAY_S)
    qsub(system, folder, "bpd-done", "true")
    alive = qsub(system, folder, "bpd-alive", "sleep 60")
    job_of(system, alive, JobState.RUNNING)
    deadline = time.monotonic() + PATIENCE_S
    while [job.id for job in system.jobs("bpd-")] != [alive]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pbs_trouble_is_retried_and_refusals_are_not(pbs_site, folder):
    system = Pbs(DELAY_S)
    pbs_site.trouble("qsub", *2 * ["1 qsub: cannot connect to server pbs (errno=15010)"])
    job_of(system, qsub(system, folder, "bpd-x", "true"), JobState.ENDED)
    with pytest.raises(ConfigError, match=r"^lane quench: qsub refused the job: Unknown queue$"):
        qsub(system, folder, "bpd-x", "true", "-q nope")
    with pytest.raises(ConfigError, match=r"^lane quench: qsub refused the job: Job violates queue and/or server"):
        qsub(system, folder, "bpd-x", "true", "-l walltime=48:00:00")
    pbs_site.trouble("qselect", *9 * ["1 Connection refused"])
    with pytest.raises(InfrastructureError, match="qselect failed 4 times: Connection refused"):
        system.jobs("bpd-")


def test_output_that_is_not_json_is_read_as_text(pbs_site, folder):
    system = Pbs(DELAY_S)
    number = qsub(system, folder, "bpd-x", "sleep 60")
    pbs_site.trouble("qstat", "0 ")  # OpenPBS has printed broken JSON for odd characters: here, nothing at all
    assert [job.id for job in system.jobs("bpd-")] == [number]


def test_a_silent_qstat_is_not_the_end_of_all_jobs(pbs_site, folder):
    system = Pbs(DELAY_S)
    number = qsub(system, folder, "bpd-x", "sleep 60")
    pbs_site.trouble("qstat", *2 * ["1 qstat: End of File"])
    with pytest.raises(InfrastructureError, match="qstat failed: End of File"):
        system.jobs("bpd-")
    assert [job.id for job in system.jobs("bpd-")] == [number]


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"Exit_status": 0, "substate": 92}, "completed"),
        ({"Exit_status": -29, "comment": "Job run at ... and exceeded resource walltime"}, "timeout"),
        ({"Exit_status": -27, "comment": "Job run at ... and exceeded resource mem"}, "out_of_memory"),
        ({"Exit_status": 265, "substate": 93, "comment": "Cgroup mem limit exceeded: oom-kill"}, "out_of_memory"),
        ({"Exit_status": "271", "substate": "91"}, "cancelled"),
        ({"Exit_status": 271, "substate": 91, "Resource_List": {"walltime": "00:10:00"},
          "resources_used": {"walltime": "00:10:04"}}, "timeout"),
        ({"Exit_status": "271", "Resource_List.walltime": "00:10:00", "resources_used.walltime": "00:10:04"},
         "timeout"),
        ({"Exit_status": 271, "substate": 91, "comment": "Job preempted by deletion"}, "preempted"),
        ({"Exit_status": -20}, "node_failure"),
        ({"Exit_status": -3}, "failed"),
        ({"Exit_status": 139}, "failed"),
        ({"substate": 91, "comment": "Job deleted"}, "cancelled"),
    ],
)  # fmt: skip
def test_pbs_says_why_a_job_ended(pbs_site, facts, cause):
    job = {"number": 1, "Job_Name": "bpd-x", "Job_Owner": getpass.getuser(), "job_state": "F", "Rerunable": False}
    (pbs_site.home / "1.json").write_text(json.dumps(job | facts))
    assert Pbs(DELAY_S).jobs("bpd-") == [BatchJob("1.pbs", "bpd-x", JobState.ENDED, cause)]


@pytest.mark.slow
def test_a_campaign_runs_on_pbs(pbs_site, tmp_path):
    """Real workers in PBS jobs, on both lanes of the generic profile."""
    profile = read_yaml(shipped_profiles()["pbs"]).content
    for lane in profile["lanes"].values():
        lane |= {
            "max_memory": 2,
            "max_walltime": "0:20:00",
            "cores": 1,
            "memory": 1,
            "walltime": "0:10:00",
            "prologue": [f"export PYTHONPATH={TOYS}"],
        }
    profile["scheduler"]["interface"] = "lo"
    profile["submission"] = {"per_minute": 600, "poll_s": 1}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    campaign = write_campaign(tmp_path / "campaign", TEXT.format(replicas=2, retries=2))
    (campaign.root / "toy.json").write_text("{}")
    campaign.use_profile(tmp_path / "site.yaml")
    campaign.start()
    ended(drive(campaign))
    findings = campaign.fsck()
    assert findings.clean
    assert {state for state, count in findings.states.items() if count} == {"done"}
    lanes = {job.name.split("-")[3] for job in Pbs(DELAY_S).jobs("bpd-")}
    assert lanes == {"quench", "mpi"}
