# SPDX-License-Identifier: BSD-3-Clause
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bp_distributed.config import STAGES
from bp_distributed.errors import ConfigError
from bp_distributed.profile import Lane, Shape, read_profile, seconds_of, shipped_profiles, walltime_of

REPOSITORY = Path(__file__).resolve().parent.parent

SITE = """\
name: site
lanes:
  quench:
    system: slurm
    cores: 8
    memory: 16 GiB
    max_memory: 48
    walltime: 8:00:00
    max_walltime: 1-00:00:00
  mpi:
    system: slurm
    nodes: 2
    cores: 8
    memory: 32
    walltime: 1:00:00
    launcher: [mpiexec, -n, "{n}", "{cmd}"]
stages:
  vibration: mpi
scheduler:
  interface: ib0
"""


@pytest.fixture
def site(tmp_path):
    """Return a function that writes a profile, with one piece of text replaced, and reads it."""

    def read(old="", new=""):
        assert old in SITE
        path = tmp_path / "site.yaml"
        path.write_text(SITE.replace(old, new, 1), encoding="utf-8")
        return read_profile(path)

    return read


def test_a_lane_by_stage_and_what_it_defaults_to(site):
    profile = site()
    assert profile.system == "slurm"
    assert {stage: profile.lane_of(stage).name for stage in STAGES} == dict.fromkeys(STAGES, "quench") | {
        "vibration": "mpi"
    }
    quench, mpi = profile.lanes["quench"], profile.lanes["mpi"]
    assert (quench.workers, quench.threads, quench.walltime_s, quench.launches_ranks) == (8, 1, 8 * 3600, False)
    assert (quench.interface, mpi.interface) == ("ib0", "ib0")
    assert (mpi.workers, mpi.threads, mpi.launches_ranks) == (1, 8, True)


def test_shapes_climb_to_the_tops_of_their_lane(site):
    lanes = site().lanes
    shapes = [Shape("quench"), Shape("quench", 2), Shape("quench", 1, 2), Shape("quench", 4, 8), Shape("mpi", 2, 2)]
    assert [shape.tag for shape in shapes] == ["quench", "quench-m2", "quench-w2", "quench-m4-w8", "mpi-m2-w2"]
    assert len({hash(shape) for shape in shapes}) == len(shapes)
    raised = [lanes[shape.lane].shaped(shape) for shape in shapes]
    assert [lane.memory for lane in raised] == [16, 32, 16, 48, 32]
    assert [lane.walltime for lane in raised] == ["08:00:00", "08:00:00", "16:00:00", "24:00:00", "01:00:00"]


def test_a_local_lane_has_no_end_and_keeps_it():
    lane = read_profile("laptop").lane_of("quench")
    assert lane.walltime_s == math.inf
    assert lane.shaped(Shape("here", 2, 2)) == lane


@given(st.integers(1, 999 * 3600))
def test_walltimes_survive_the_round_trip(seconds):
    assert seconds_of(walltime_of(seconds)) == seconds


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("cores: 8", "core: 8", r"site.yaml:5: lanes.quench.core: unknown key, expected system, queue"),
        ("cores: 8", "name: x\n    cores: 8", r"lanes.quench.name: unknown key"),
        ("cores: 8", "cores: 0", r"site.yaml:5: lanes.quench.cores: got 0, expected greater than or equal to 1"),
        ("    cores: 8\n", "", r"site.yaml:3: lanes.quench.cores: is missing"),
        ("quench:", "Quench:", r"lanes.Quench: got 'Quench', expected a-z, then"),
        ("system: slurm", "system: condor", r"lanes.quench.system: got 'condor', expected 'slurm', 'pbs'"),
        ("system: slurm", "system: pbs", r"site.yaml:2: lanes: got the systems pbs, slurm, expected one for all lanes"),
        ("vibration: mpi", "vibration: gpu", r"stages: vibration got 'gpu', expected one of the lanes quench, mpi"),
        ("vibration: mpi", "training: mpi", r"stages.training: unknown key, expected melt, quench"),
        ("walltime: 8:00:00", "walltime: 8h", r"lanes.quench.walltime: got '8h', expected \[days-\]hours"),
        ("walltime: 8:00:00", "walltime: 1000:00:00", r"lanes.quench.walltime: got '1000:00:00', expected"),
        ("walltime: 8:00:00", "walltime: 42-00:00:00", r"lanes.quench.walltime: .* expected at most 999 hours"),
        ("    walltime: 1:00:00\n", "", r"lanes.mpi.walltime: is missing"),
        ("memory: 16 GiB", "memory: 16 GB", r"lanes.quench.memory: got '16 GB', expected the unit GiB"),
        ("max_memory: 48", "max_memory: 8", r"max_memory: got 8, expected at least memory \(16 GiB\)"),
        ("max_walltime: 1-", "max_walltime: 0-", r"max_walltime: .*expected"),
        ("cores: 8", "cores: 8\n    workers: 9", r"workers: got 9, expected at most one per core \(8\)"),
        ("cores: 8", "cores: 8\n    margin: 28800", r"margin: got 28800 s, expected less than walltime \(8:00:00\)"),
        ("nodes: 2", "nodes: 2\n    workers: 2", r"lanes.mpi.workers: got 2, expected 1: that worker launches"),
        ("    launcher: [mpiexec, -n, \"{n}\", \"{cmd}\"]\n", "", r"lanes.mpi.launcher: is missing: a job of several"),
        ('"{cmd}"]', '"{n}"]', r"lanes.mpi.launcher: expected the word '\{cmd\}' once"),
        ('"{cmd}"]', '"{cmd}", "{host}"]', r"lanes.mpi.launcher.4: got '\{host\}', expected a word; \{n\}"),
        ("cores: 8", "cores: 8\n    container: /a.sif", r"lanes.quench.python: is missing: a container needs"),
        ("cores: 8", "cores: 8\n    python: python3", r"lanes.quench.python: got 'python3', expected an absolute path"),
        ("nodes: 2", "nodes: 2\n    container: /a\n    python: /b", r"lanes.mpi.container: cannot hold a lane that"),
        ("cores: 8", "cores: 8\n    prologue: ['if true']", r"prologue: is not complete shell code: .*syntax error"),
        ("cores: 8", "cores: 8\n    prologue: ['cat <<X']", r"prologue.0: got 'cat <<X', expected a command that ends"),
        ("cores: 8", "cores: 8\n    prologue: ['#SBATCH -x']", r"prologue.0: got '#SBATCH -x', expected a command"),
        ("interface: ib0", "interface: 'a b'", r"scheduler.interface: got 'a b', expected the name"),
        ("  interface: ib0", "  interface: null", r"lanes.quench.interface: is missing: the network between"),
        ("cores: 8", "cores: 8\n    interface: null", r"lanes.quench.interface: is missing: the network between"),
        ("name: site", "name: site\nsubmission: {poll_s: 0}", r"submission.poll_s: got 0, expected"),
        ("lanes:", "lanes: {}\nother:", r"other: unknown key, expected name, description, scheduler"),
    ],
)  # fmt: skip
def test_bad_profiles_get_one_sentence(site, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        site(old, new)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["security: false", "protocol: tcp", "tls: false", "insecure: true"])
@pytest.mark.parametrize("place", ["cores: 8", "name: site"])
def test_plain_connections_cannot_be_asked_for(site, key, place):
    with pytest.raises(ConfigError, match=f"{key.split(':')[0]}: unknown key"):
        site(place, f"{place}\n{'    ' if place == 'cores: 8' else ''}{key}")


@pytest.mark.parametrize(
    "key", ["queue: a", "walltime: '1:00:00'", "container: /a", "directives: [-x]", "prologue: [a]"]
)
def test_a_local_lane_takes_no_batch_keys(tmp_path, key):
    path = tmp_path / "site.yaml"
    path.write_text(f"name: a\nlanes:\n  here:\n    system: local\n    cores: 1\n    memory: 1\n    {key}\n")
    with pytest.raises(
        ConfigError, match=f"site.yaml:7: lanes.here.{key.split(':')[0]}: means nothing on a local lane"
    ):
        read_profile(path)


# ---- directives -------------------------------------------------------------------------------------------------------


def directive(system, text):
    return Lane.model_validate(
        {
            "name": "q",
            "system": system,
            "cores": 1,
            "memory": 1,
            "walltime": "1:00:00",
            "directives": [text],
            "interface": "lo",
        }
    )


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("slurm", "--qos=long"), ("slurm", "--qos long"), ("slurm", "-C haswell"), ("slurm", "--exclusive"),
        ("slurm", "--gres=gpu:a100:2"), ("slurm", "--nodelist=n[1-3]"), ("slurm", "--mail-type=END,FAIL"),
        ("slurm", "--no-kill"), ("pbs", "-l place=scatter:excl"), ("pbs", "-l select=2:ncpus=4+1:ncpus=8"),
        ("pbs", "-l filesystems=home:grand"), ("pbs", "-W group_list=g1"), ("pbs", "-m abe"),
        ("sge", "-pe smp 4"), ("sge", "-l h_vmem=4G"), ("lsf", "-app fast"),
    ],
)  # fmt: skip
def test_usual_directives_are_taken(system, text):
    assert directive(system, text).directives == (text,)


@pytest.mark.parametrize(
    ("system", "text", "why"),
    [
        ("slurm", "--export=ALL", "--export is fixed"), ("slurm", "--exp=ALL", "--export is fixed"),
        ("slurm", "--requeue", "--requeue is fixed"), ("slurm", "--signal=B:USR1@120", "--signal is fixed"),
        ("slurm", "-t 9:00:00", "-t is set with the key walltime"), ("slurm", "-t9", "expected one option"),
        ("slurm", "--mem-per-cpu=1G", "set with the key memory"), ("slurm", "--exclusive --export=ALL", "one option"),
        ("slurm", "-C a --export=ALL", "expected one option"), ("slurm", "--array=1-9", "--array is fixed"),
        ("slurm", "--qos=a;b", "expected one option"), ("slurm", "--qos='a'", "expected one option"),
        ("slurm", "--wrap=x", "--wrap is fixed"), ("slurm", "qos=a", "expected one option"),
        ("slurm", "-N 4", "-N is set with the key nodes"), ("slurm", "--exclude=n1", "--exclude is fixed"),
        ("pbs", "-V", "-V is fixed"), ("pbs", "-v A=b", "-v is fixed"), ("pbs", "-C x", "-C is fixed"),
        ("pbs", "-l walltime=1:00:00", "walltime is set with the key walltime"),
        ("pbs", "-l place=excl,walltime=1:00:00", "walltime is set with the key walltime"),
        ("pbs", "-l place=excl -V", "expected one option"), ("pbs", "-W block=true", "would hold the driver"),
        ("pbs", "-lwalltime=1", "expected one option"), ("lsf", "-K", "-K is fixed"), ("sge", "-sync y", "fixed"),
    ],
)  # fmt: skip
def test_directives_that_would_break_a_promise_are_refused(system, text, why):
    with pytest.raises(ValidationError, match=why):
        directive(system, text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_profile_or_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value)


# ---- what is shipped ----------------------------------------------------------------------------------------------------


def test_every_shipped_profile_is_sound_and_named_as_its_file():
    assert {"laptop", "slurm", "pbs", "ci-slurm", "cray-slurm", "pbs-pro"} <= set(shipped_profiles())
    for name in shipped_profiles():
        assert read_profile(name).name == name


def test_every_key_is_explained_where_people_start():
    text = shipped_profiles()["slurm"].read_text()
    for key in set(Lane.model_fields) - {"name"}:
        assert f"{key}:" in text, key


def test_an_unknown_profile_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(ConfigError, match=r"profile 'slrum': is neither a file nor a shipped profile; .*laptop.*slurm"):
        read_profile("slrum")


@pytest.mark.slow
def test_a_wheel_carries_the_profiles(tmp_path):
    """Built from a copy without the repository's build folder, whose stale files would be packed as well."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "bp_distributed", "deploy"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, tmp_path / "out"], cwd=tmp_path, check=True, capture_output=True
    )
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.whl"))) as wheel:
        names = wheel.namelist()
        wheel.extractall(tmp_path / "site")
    assert {f"bp_distributed/deploy/{name}.yaml" for name in shipped_profiles()} <= set(names)
    code = "from bp_distributed.profile import shipped_profiles; print(*shipped_profiles().values(), sep='\\n')"
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", check=True, capture_output=True, text=True
    )
    assert all(str(tmp_path / "site") in line for line in there.stdout.splitlines())


def test_a_site_without_lanes_is_none(tmp_path):
    (tmp_path / "site.yaml").write_text("name: a\nlanes: {}\n")
    with pytest.raises(ConfigError, match=r"site.yaml:2: lanes: is empty, expected at least one lane"):
        read_profile(tmp_path / "site.yaml")


def test_a_scheduler_must_say_where_it_listens(tmp_path):
    lane = "  q: {system: slurm, cores: 1, memory: 1, walltime: '1:00:00', interface: ib0}"
    (tmp_path / "site.yaml").write_text(f"name: a\nlanes:\n{lane}\nscheduler: {{}}\n")
    with pytest.raises(ConfigError, match=r"site.yaml:4: scheduler: interface is missing: the network between driver"):
        read_profile(tmp_path / "site.yaml")
