# SPDX-License-Identifier: BSD-3-Clause
"""Batch jobs that end before a task does, on a real Slurm (reliability.md F16, F17); the steps are toys with checkpoints."""

from collections import Counter

import pytest
from slurm_campaign import drive, ended, own_jobs, slurm_campaign, sound

from bp_distributed.attempt import attempts_of
from bp_distributed.errors import ConfigError
from bp_distributed.profile import read_profile, shipped_profiles
from bp_distributed.store import Journal

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("slurm")]

USABLE_S, SLICE_S = 15, 2.0
LANE = {"walltime": "0:01:00", "max_walltime": "0:01:00", "margin": 60 - USABLE_S}  # Slurm counts in minutes


def test_f16_a_task_longer_than_a_walltime_goes_on_from_slice_to_slice(slurm_site, tmp_path):
    """Three samples of three slices, and one of nine: more than any job of this lane can hold."""
    campaign = slurm_campaign(
        tmp_path / "campaign", replicas=4, toys={"quench": f"slices 3 {SLICE_S}"}, lanes={"single": LANE}
    )
    quenches = [task for task in campaign.store.plan.tasks if task.stage == "quench"]
    (campaign.root / "toy.json").write_text(
        f'{{"quench": "slices 3 {SLICE_S}", "quench-{quenches[1].owner}": "slices 9 {SLICE_S}"}}'
    )
    ended(drive(campaign))
    attempts = {task.key: attempts_of(campaign.store.folder(task)) for task in quenches}
    long = attempts[quenches[1].key]
    assert len(long) >= 2
    assert all(attempt.paused for attempt in long[:-1])
    assert long[-1].paused is None
    done = [attempt.paused["done"] for attempt in long[:-1]]
    assert done == sorted(done)
    assert sum(attempt.paused["slices"] for attempt in long[:-1]) == done[-1], "no slice was run twice"
    assert not [attempt.failure for group in attempts.values() for attempt in group if attempt.failure]
    for group in attempts.values():
        for attempt in group:
            if pause := attempt.paused:
                assert pause["ended"] < attempt.claim["deadline"]
    told = Counter(line["status"] for line in Journal.read(campaign.root) if line["event"] == "end_of_attempt")
    assert told["paused"] == sum(attempt.paused is not None for group in attempts.values() for attempt in group)
    assert told["lost"] == 0, "a worker left before its report was fetched"
    jobs = own_jobs(slurm_site, campaign).values()
    assert {job["JobState"] for job in jobs} <= {"COMPLETED", "CANCELLED"}, "none ran into its walltime"
    sound(slurm_site, campaign)


def test_f17_a_signal_before_the_end_would_end_a_job_early(slurm_site, tmp_path):
    """A known trap: bash dies of it, so profiles refuse the directive, and our jobs end by their own clock (F16)."""
    script = f"#!/bin/bash\nsleep 300\necho the end > {tmp_path}/end\n"
    job = slurm_site.submit(script, "--time=1", "--signal=B:USR1@60", "-o", "/dev/null")
    assert slurm_site.wait_for(job, "FAILED", "TIMEOUT", "COMPLETED")["ExitCode"] == "0:10"  # SIGUSR1
    assert not (tmp_path / "end").exists()
    text = (
        shipped_profiles()["ci-slurm"].read_text().replace("nodes: 2", "nodes: 2\n    directives: [--signal=B:USR1@60]")
    )
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"directives.*--signal is fixed by bp_distributed"):
        read_profile(tmp_path / "site.yaml")
