# SPDX-License-Identifier: BSD-3-Clause
"""Gathering the features of 1,629 samples of 4000 atoms into one dataset: seconds, and memory of all processes.

The samples are made up with the shapes of real results (12,000 frequencies, 724 participation ratios, three pair
distributions of 120 bins, 4000 atoms) and lie in netCDF files as the store's do.  A few different files stand for all
1,629, under many names, so that the disk need not hold them; each is opened, checked and read anew.  The peer is the
limit of 30 s; the memory is the largest of the process that gathers and those that read for it, all counted at the end
of the reading, or of the writing.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil

SAMPLES, FILES, ATOMS, MODES, RATIOS, LIMIT_S, LIMIT_GB = 1629, 8, 4000, 11_997, 724, 30.0, 2.0


def stages(rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of one made-up sample by stage."""
    omega = (np.arange(94) + 0.5) * 0.5
    return {
        "quench": {
            "position": rng.random((ATOMS, 3)) * 41.0, "cell": np.eye(3) * 41.0,
            "species": np.repeat([0, 1], ATOMS // 2).astype(np.int8), "energy": np.array(-2e4),
            "density": np.array(7.2), "history_time": np.arange(100.0), "history_temperature": np.linspace(2000.0, 0.1, 100),
        },
        "structure": {
            "r": (np.arange(120) + 0.5) * 0.1, "partial_pdf": rng.random((3, 120)), "total_pdf": rng.random(120),
            "atomic_pdf": rng.random((ATOMS, 2, 120), dtype=np.float32),
        },
        "vibration": {
            "frequency": np.sort(rng.random(MODES) * 47.0), "participation_ratio": rng.random(RATIOS), "omega": omega,
            "vdos": rng.random(94), "reduced_vdos": rng.random(94), "low_omega": omega[:20],
            "atomic_vdos": rng.random((ATOMS, 20), dtype=np.float32), "atomic_intensity": rng.random(ATOMS),
            "atomic_window_intensity": rng.random(ATOMS), "intensity": np.array(2.3e-4), "intensity_error": np.array(1e-5),
            "shear_modulus": np.array(26.0), "first_phonon": np.array(2.9), "n_modes": np.array(MODES),
        },
    }  # fmt: skip


def write_files(folder: Path) -> None:
    """Write the files that stand for all samples."""
    from bp_distributed.dataset import label, write

    for number in range(FILES):
        for stage, arrays in stages(np.random.default_rng(number)).items():
            write(label(arrays, {"elements": "Cu Zr"}), folder / f"{number}-{stage}.nc")


def load(path: Path) -> object:
    """Read one result, its checksum verified as a campaign does."""
    from bp_distributed.dataset import read
    from bp_distributed.durable import digest_of
    from bp_distributed.gather import LEFT_OUT

    digest_of(path)
    return read(path, LEFT_OUT)


def memory() -> float:
    """Return the largest memory this process had so far, and what its children have now, in GiB."""
    children = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2 + children / 1024**3


def measure(folder: Path) -> dict:
    """Gather all samples, without and with what holds one number for each atom."""
    from bp_distributed.gather import GatherItem, gather, write_dataset

    names = list(stages(np.random.default_rng(0)))
    items = [
        GatherItem(
            f"{index:020x}", f"sample-{index}", f"melt-{index % 80}", 1e12, {"Cu": 0.5, "Zr": 0.5}, ATOMS,
            stages={stage: partial(load, folder / f"{index % FILES}-{stage}.nc") for stage in names},
        )
        for index in range(SAMPLES)
    ]  # fmt: skip
    started = time.perf_counter()
    dataset = gather(items, {})
    gathered, peak = time.perf_counter() - started, memory()
    write_dataset(dataset, folder / "dataset.nc")
    return {"seconds": gathered, "peak_GB": peak, "with_writing_seconds": time.perf_counter() - started,
            "with_writing_peak_GB": memory(), "dataset_GB": (folder / "dataset.nc").stat().st_size / 1024**3}  # fmt: skip


def run() -> dict:
    with tempfile.TemporaryDirectory(prefix="bpd-bench-") as name:
        write_files(Path(name))
        code = f"import json; from pathlib import Path; from benchmarks.gather_1629 import measure; print(json.dumps(measure(Path({name!r}))))"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return {"row": "gather_1629", "ours": found["seconds"], "peer": LIMIT_S, "ratio": LIMIT_S / found["seconds"],
            "unit": f"s for {SAMPLES} samples",
            "detail": {**found, "atoms": ATOMS, "target": f"{LIMIT_S:g} s and {LIMIT_GB:g} GB"}}  # fmt: skip
