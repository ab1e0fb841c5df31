# SPDX-License-Identifier: BSD-3-Clause
"""The command line: bad input is one line and exit code 2, before anything is written (reliability.md, section 16)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_campaign import SMALL, write_campaign

from bp_distributed.campaign import Campaign
from bp_distributed.errors import ConfigError

BPD = str(Path(sys.executable).with_name("bpd"))


def bpd(*words, **environment):
    environment = {**os.environ, "COLUMNS": "100", **environment}
    return subprocess.run(
        [BPD, *map(str, words)], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def refused(answer, *expected):
    """Exit 2, one line on stderr with every expected piece, no traceback."""
    assert answer.returncode == 2, answer
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout
    for piece in expected:
        assert piece in answer.stderr
    return answer


BAD = {
    "B01 tabs": ("name: x\n\tseed: 1\n", ["campaign.yaml:2"]),
    "B01 empty": ("", ["empty"]),
    "B01 two documents": ("name: a\n---\nname: b\n", ["2 documents"]),
    "B02 unknown key": (
        SMALL.replace("cooling_rates", "coling_rates"),
        ["coling_rates", "did you mean 'cooling_rates'"],
    ),
    "B03 duplicate key": (SMALL + "name: again\n", ["'name'", "line 1"]),
    "B04 wrong unit": (SMALL.replace("[5e14, 2.5e14]", '["1e12 K"]'), ["1e12 K", "K/s"]),
    "B05 kelvin": (SMALL.replace("heating: 1", 'melt_temperature: "300 C", heating: 1'), ["300 C", "K"]),
    "B06 negative rate": (
        SMALL.replace("5e14,", "-5e14,"),
        ["campaign.yaml:7: samples.0.cooling_rates.0: got -5", "expected"],
    ),
    "B06 zero rate": (SMALL.replace("5e14,", "0,"), ["cooling_rates"]),
    "B06 not finite": (SMALL.replace("5e14,", ".inf,"), ["finite"]),
    "B06 cold melt": (SMALL.replace("heating: 1", "melt_temperature: 0.05, heating: 1"), ["final_temperature"]),
    "B06 time step": (SMALL.replace("heating: 1", "timestep: 0, heating: 1"), ["timestep"]),
    "B07 fractional count": (SMALL.replace("replicas: 2", "replicas: 1.5"), ["replicas", "1.5"]),
    "B07 absurd count": (SMALL.replace("replicas: 2", "replicas: 1000000000"), ["got 2000000000 samples"]),
    "B07 large count": (SMALL.replace("replicas: 2", "replicas: 1000000"), ["2000000 samples", "--yes"]),
    "B07 atoms": (SMALL.replace("n_atoms: 108", "n_atoms: 100"), ["n_atoms", "108"]),
    "B08 unquoted No": (SMALL.replace("{Cu: 50, Zr: 50}", "{Cu: 50, No: 50}"), ["No"]),
    "B08 walltime": (SMALL + "resources: {quench: {walltime: 90}}\n", ["walltime"]),
    "B09 missing potential": (SMALL.replace("default", "nowhere.eam.fs"), ["nowhere.eam.fs", "no such file"]),
    "B09 folder": (SMALL.replace("default", "."), ["folder"]),
    "B09 unknown name": (SMALL.replace("default", "{name: Xx.eam.fs}"), ["Xx.eam.fs", "BPD_POTENTIALS"]),
    "B09 wrong element": (SMALL.replace("{Cu: 50, Zr: 50}", "{Al: 50, Zr: 50}"), ["Al"]),
    "B13 traversal": (SMALL.replace("name: small", "name: ../../x"), ["name"]),
    "B13 label": (SMALL.replace("label: glass", "label: /etc/passwd"), ["label"]),
    "B17 bomb": ("a: &a [x,x]\nb: &b [*a,*a]\n", ["anchor"]),
    "B17 deep": ("a: " + "[" * 1000 + "]" * 1000 + "\n", ["deeper"]),
    "B18 newer": ("schema: 99\n" + SMALL, ["newer"]),
    "B19 object": ("name: !!python/object/apply:os.system ['touch CANARY']\n", ["tag"]),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, text, expected, monkeypatch):
    monkeypatch.chdir(tmp_path)
    campaign = write_campaign(tmp_path / "c", text)
    refused(bpd("run", campaign.root), *expected)
    assert [path.name for path in campaign.root.iterdir()] == ["campaign.yaml"]
    assert not (tmp_path / "CANARY").exists()


def test_b01_binary_and_byte_order_mark(tmp_path):
    for data, expected in ((b"\x00\xff\xfe", "UTF-8"), (b"\xef\xbb\xbfname: x\n", "byte-order mark")):
        (tmp_path / "campaign.yaml").write_bytes(data)
        refused(bpd("plan", tmp_path), expected)


def test_b07_no_samples_is_nothing_to_do(tmp_path):
    campaign = write_campaign(tmp_path / "c", "name: empty\nsamples: []\n")
    answer = bpd("run", campaign.root)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "nothing to do" in answer.stdout


def test_b12_a_path_with_spaces_and_letters_works(tmp_path, toy_steps):
    campaign = write_campaign(tmp_path / "Proben für Zoë 🥼 -x")
    assert campaign.run(workers=0) == "finished"
    assert bpd("fsck", campaign.root).returncode == 0


def test_b14_a_folder_that_cannot_be_written_names_the_step():
    refused(bpd("selftest", "/proc"), "/proc", "cannot create")


def test_b16_a_changed_configuration_is_refused_with_the_difference(campaign):
    campaign.start()
    text = campaign.config_path.read_text()
    campaign.config_path.write_text(text.replace("r_max", "r_max").replace("bin_width: 1.0", "bin_width: 0.5"))
    refused(bpd("run", campaign.root), "bin_width: 0.5", "bpd amend")


def test_amend_keeps_what_is_done_and_recomputes_what_changed(campaign):
    campaign.run(workers=0)
    campaign.config_path.write_text(campaign.config_path.read_text().replace("bin_width: 1.0", "bin_width: 0.5"))
    answer = bpd("amend", campaign.root)
    assert "10 of them have results already" in answer.stdout  # all but the 4 vibrations
    assert campaign.run(workers=0) == "finished"
    assert campaign.fsck().clean


def test_b15_a_plan_that_was_edited_is_refused(campaign):
    store = campaign.start()
    path = store.root / "plan" / f"plan-{store.plan.sha256}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    refused(bpd("status", campaign.root), "bpd amend")
    refused(bpd("run", campaign.root), "bpd amend")
    assert bpd("amend", campaign.root).returncode == 0
    assert bpd("status", campaign.root).returncode == 0


def test_a_campaign_goes_on_when_its_inputs_are_gone(tmp_path, toy_steps):
    import shutil

    from bp_distributed.config import default_potential

    shutil.copyfile(default_potential(), tmp_path / "mine.eam.fs")
    campaign = write_campaign(tmp_path / "c", SMALL.replace("default", "../mine.eam.fs"))
    campaign.start()
    (tmp_path / "mine.eam.fs").unlink()
    assert campaign.run(workers=0) == "finished"


def test_b18_a_store_of_a_newer_version_is_refused(campaign):
    from bp_distributed import durable

    campaign.start()
    path = campaign.root / "campaign.json"
    content = durable.read_sealed(path)
    path.write_bytes(durable.sealed_json({**content, "schema": 99}))
    refused(bpd("status", campaign.root), "newer")


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C"}, {"LC_ALL": "de_DE.UTF-8"}, {"HOME": "/nonexistent"}, {"TMPDIR": "/nonexistent"}]
)
def test_b20_ids_do_not_depend_on_the_environment(tmp_path, variables):
    campaign = write_campaign(tmp_path / "c")
    code = (
        f"from bp_distributed import Campaign; print([s.sid for s in Campaign({str(campaign.root)!r}).plan().samples])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables}, check=True
    )
    assert run.stdout.strip() == str([sample.sid for sample in campaign.plan().samples])


def test_s17_everything_is_private_under_umask_0(campaign):
    previous = os.umask(0)
    try:
        campaign.run(workers=0)
    finally:
        os.umask(previous)
    for kind in ("samples", "melts", "plan", "lock", "journal", "potentials"):
        assert not (campaign.root / kind).stat().st_mode & 0o077, kind
    for marker in (
        *campaign.root.rglob("DONE.json"),
        *campaign.root.rglob("result-*.nc"),
        *campaign.root.rglob("claim.json"),
    ):
        assert not marker.stat().st_mode & 0o077, marker


def test_every_command_explains_itself():
    commands = ("init", "plan", "amend", "script", "doctor", "run", "attach", "stop", "drain", "step", "cancel", "dashboard",
                "status", "efficiency", "show", "logs", "retry", "fsck", "selftest", "gather", "train", "export", "report",
                "demo")  # fmt: skip
    top = bpd("--help").stdout
    for command in commands:
        assert command in top
        answer = bpd(command, "--help")
        assert answer.returncode == 0
        assert "Usage" in answer.stdout


def test_completion_is_offered():
    named = {
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"
    }  # else the processes above are asked, and may be no shell
    assert "_BPD_COMPLETE" in bpd("--show-completion", "bash", **named).stdout


def test_init_never_overwrites(tmp_path):
    assert bpd("init", tmp_path / "c").returncode == 0
    refused(bpd("init", tmp_path / "c"), "exists already")
    refused(bpd("init", tmp_path / "d", "--preset", "tao"), "demo, tao2023, yang2022")


def test_status_show_and_logs_of_a_finished_campaign(campaign):
    campaign.run(workers=0)
    status = json.loads(bpd("status", campaign.root, "--json").stdout)
    assert status["finished"]
    assert {row["stage"]: row["counts"]["done"] for row in status["rows"]} == {
        "melt": 2,
        "quench": 4,
        "structure": 4,
        "vibration": 4,
    }
    sample = campaign.store.plan.samples[0]
    shown = json.loads(bpd("show", sample.label, "-C", campaign.root, "--json").stdout)
    assert shown["id"] == sample.sid
    assert set(shown["stages"]) == {"quench", "structure", "vibration"}
    assert sample.sid[:8] in bpd("show", "-C", campaign.root).stdout
    assert bpd("logs", sample.label, "-C", campaign.root).returncode == 0
    refused(bpd("logs", "nobody", "-C", campaign.root), "fits no sample")


def test_commands_on_a_folder_without_a_campaign(tmp_path):
    refused(bpd("run", tmp_path), "bpd init")
    refused(bpd("status", tmp_path), "not a campaign yet")


def test_without_a_driver_there_is_nothing_to_stop_or_to_open(campaign):
    campaign.start()
    refused(bpd("cancel", "-C", campaign.root), "no driver is at work")
    for command in ("stop", "drain", "dashboard"):
        refused(bpd(command, campaign.root), "no driver is at work")


def test_options_that_contradict_each_other_are_refused(campaign):
    campaign.start()
    refused(bpd("run", campaign.root, "--as-job", "quench"), "--as-job", "--detach")
    refused(bpd("run", campaign.root, "--profile", "nowhere"), "nowhere", "expected one of", "laptop", "slurm")
    refused(bpd("run", campaign.root, "--profile", "slurm", "--workers", "2"), "workers", "lanes")
    refused(bpd("retry", "glass", "--failed", "-C", campaign.root), "--failed")
    refused(bpd("retry", "--failed", "--walltime", "90", "-C", campaign.root), "walltime", "'90'")
    refused(bpd("retry", "--failed", "--memory", "-1", "-C", campaign.root), "memory", "-1")


def test_the_job_script_can_be_read_before_anything_is_submitted(campaign):
    refused(bpd("script", "-C", campaign.root), "no site profile is in force")
    script = bpd("script", "quench", "-C", campaign.root, "--profile", "slurm")
    assert script.returncode == 0, script
    assert script.stdout.startswith("#!/bin/bash\n")
    assert "#SBATCH" in script.stdout
    assert "lane-quench=1" in script.stdout
    refused(bpd("script", "nowhere", "-C", campaign.root), "lane", "got 'nowhere', expected one of quench, mpi")


def test_status_and_attach_of_a_campaign_that_has_ended(campaign):
    campaign.run(workers=0)
    for command in ("status", "attach"):
        answer = bpd(command, campaign.root)
        assert answer.returncode == 0
        assert "14 of 14 tasks ended" in answer.stdout
    assert bpd("step", campaign.root).stdout == "all 14 tasks have ended\n"


def test_attach_without_a_driver_ends_at_once_unfinished(campaign):
    campaign.start()
    answer = bpd("attach", campaign.root)
    assert answer.returncode == 10
    assert "no driver at work" in answer.stdout


def test_retry_asks_for_more(campaign):
    """The options of 'bpd retry' arrive at the task: twice the walltime, by hand."""
    (campaign.root / "toy.json").write_text('{"quench": "science"}')
    campaign.run(workers=0)
    assert "4 tasks released" in bpd("retry", "--failed", "--cause", "atoms_lost", "--walltime", "48:00:00", "--memory", "3",
                                    "-C", campaign.root).stdout  # fmt: skip
    quench = next(task for task in campaign.store.plan.tasks if task.stage == "quench")
    assert campaign.store.state(quench).asked == {"memory": 3.0, "walltime": 172800.0}


def test_the_notebook_view_is_html_and_never_raises(campaign, tmp_path):
    campaign.start()
    page = campaign._repr_html_()
    assert "<table>" in page
    assert "small" in page
    assert "not a campaign yet" in Campaign(tmp_path / "nothing")._repr_html_()


def test_config_error_reads_as_documented(tmp_path):
    campaign = write_campaign(tmp_path / "c", SMALL.replace("replicas: 2", "replicas: two"))
    with pytest.raises(
        ConfigError, match=r"campaign\.yaml:7: samples\.0\.replicas: got 'two', expected .*whole number|integer"
    ):
        _ = campaign.config


def test_b09_a_potential_that_lammps_refuses_stops_before_anything_is_written(tmp_path):
    from bp_distributed.config import default_potential

    whole = default_potential().read_bytes()
    (tmp_path / "torn.eam.fs").write_bytes(whole[: len(whole) // 2])
    campaign = write_campaign(tmp_path / "c", SMALL.replace("default", "../torn.eam.fs"))
    refused(bpd("run", campaign.root), "torn.eam.fs", "potential")
    assert [path.name for path in campaign.root.iterdir()] == ["campaign.yaml"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "glass.data"),
        ("\x00\x01\x02 binary", "glass.data"),
        ("t\n\n2 atoms\n2 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nAtoms\n\n1 1 1 1 1\n2 2 nan 3 3\n", "2"),
        ("t\n\n2 atoms\n2 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nAtoms\n\n1 1 1 1 1\n2 2 1.1 1 1\n", "2"),
        ("t\n\n3 atoms\n2 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nAtoms\n\n1 1 1 1 1\n2 2 5 5 5\n", "3"),
        ("t\n\n0 atoms\n2 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n", "0 atoms"),
    ],
    ids=["empty", "binary", "not finite", "duplicate atoms", "wrong count", "no atoms"],
)
def test_b10_bad_structures(tmp_path, text, expected):
    campaign = write_campaign(tmp_path / "c", "name: g\nsamples: [{label: g, structures: [glass.data]}]\n")
    (campaign.root / "glass.data").write_text(text)
    refused(bpd("run", campaign.root), "glass.data", expected)
    assert not (campaign.root / "campaign.json").exists()
