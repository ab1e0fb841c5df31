# SPDX-License-Identifier: BSD-3-Clause
"""What a driver at rest takes of a login node, in percent of one core: long steps run on Slurm, nothing ends.

The Slurm is the one of the tests; the driver looks at the queue and refreshes its page as often as at a real site.
"""

import sys
import tempfile
import time
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests"
MEASURED_S, LIMIT_PERCENT, SAMPLES, JOBS = 60.0, 5.0, 8, 4


def _spent(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def run() -> dict:
    sys.path.insert(0, str(TESTS))
    from slurm_campaign import drive, scheduler_pid, slurm_campaign, steps, wait_for
    from slurm_site import SlurmSite

    with tempfile.TemporaryDirectory(prefix="bpd-bench-") as folder, SlurmSite():
        campaign = slurm_campaign(Path(folder) / "campaign", replicas=SAMPLES, toys={"quench": "slow 300"})
        profile = campaign.root / "profile.yaml"
        profile.write_text(profile.read_text().replace("poll_s: 1\n", "poll_s: 30\n"))
        driver = drive(campaign)
        wait_for(lambda: len(steps(campaign)) >= JOBS, "four steps at work")
        time.sleep(20)
        both = psutil.Process(driver.pid), psutil.Process(scheduler_pid(campaign))
        before, began = [_spent(one) for one in both], time.monotonic()
        time.sleep(MEASURED_S)
        passed = time.monotonic() - began
        percent, scheduler = (100 * (_spent(one) - b) / passed for one, b in zip(both, before, strict=True))
        memory = [one.memory_info().rss / 1e6 for one in both]
        campaign.stop(wait_s=60)
        driver.communicate()
    return {"row": "driver_idle", "ours": percent, "peer": LIMIT_PERCENT, "ratio": LIMIT_PERCENT / percent,
            "unit": "% of one core", "detail": {"scheduler_percent": scheduler, "driver_memory_MB": memory[0],
            "scheduler_memory_MB": memory[1], "workers": JOBS, "poll_s": 30, "target": "< 5 %"}}  # fmt: skip
