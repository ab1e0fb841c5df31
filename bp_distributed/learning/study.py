# SPDX-License-Identifier: BSD-3-Clause
"""``bpd learn``: all jobs of learning of a campaign, and the files that the atlas reads.

``learning.json`` is at sample level, ``atoms.json`` and ``interpretation.json`` are the results of one job each, with
their arrays in ``.npz`` beside them.  Every job lies in ``jobs/``, with the model it trained.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed import durable
from bp_distributed.errors import CampaignError, StoreError
from bp_distributed.learning.fan_out import ARRAYS, Ended, LearningJob, committed, fan_out, plain
from bp_distributed.learning.protocol import Settings, protocol_jobs
from bp_distributed.learning.samples import Samples, learnable
from bp_distributed.learning.summary import summarise

if TYPE_CHECKING:
    import xarray as xr

LEARNING, JOBS = "learning.json", "jobs"
WHOLE = ("atoms", "interpretation")
"""Jobs whose result is a file of its own."""

Load = Callable[[str, str], "xr.Dataset | None"]


@dataclass(frozen=True)
class Study:
    """What is to be learned from a campaign, and where.

    Attributes
    ----------
    folder : Path
        Where results go.
    samples : Samples
    settings : Settings
    jobs : list of LearningJob
    notes : list of str
        What must be said with the results: what cannot be learned, or from something else, and why.
    """

    folder: Path
    samples: Samples
    settings: Settings
    jobs: list[LearningJob]
    notes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Number of jobs without a committed result."""
        return sum(not committed(job, self.folder / JOBS) for job in self.jobs)

    @property
    def is_current(self) -> bool:
        """Tell whether everything was learned and written."""
        return self.missing == 0 and (self.folder / LEARNING).is_file()

    def run(self, workers: int | None = None, on_done: Callable[[str], object] = lambda name: None) -> Ended:  # noqa: ARG005
        """Run what is missing and write the files; failed jobs are named in them.

        Parameters
        ----------
        workers : int, optional
            Worker processes; all cores by default, 0 for none.
        on_done : callable
            Called with the name of each job that has ended.
        """
        ended = fan_out(self.jobs, self.folder / JOBS, workers, on_done)
        for name in WHOLE:
            if name in ended.results:
                shutil.copyfile(ended.results[name].folder / ARRAYS, aside := self.folder / f".{name}.npz")
                aside.replace(self.folder / f"{name}.npz")
                _write(self.folder / f"{name}.json", ended.results[name].facts)
        results = {name: result for name, result in ended.results.items() if name not in WHOLE}
        found = summarise(self.samples, results, self.settings)
        _write(self.folder / LEARNING, {**found, "failures": ended.failures, "notes": self.notes})
        return ended


def study_of(dataset: xr.Dataset, settings: Settings, target: str, load: Load, folder: Path) -> Study:
    """Return the study of a campaign.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    settings : Settings
    target : {"intensity", "robust_intensity"}
    load : callable
        ``load(sample_id, stage)`` yields a committed result, or nothing.
    folder : Path

    Raises
    ------
    CampaignError
        If there is too little to learn from.
    """
    samples = learnable(dataset, target)
    jobs, notes = protocol_jobs(samples, settings), [samples.note] if samples.note else []
    request = {"elements": list(samples.composition), "seed": settings.seed}
    jobs.append(LearningJob("interpretation", {"kind": "interpretation", **request}, samples.arrays))
    try:
        jobs.append(LearningJob("atoms", {"kind": "atoms", **request}, _atom_inputs(dataset, samples, load)))
    except CampaignError as error:
        notes.append(f"nothing is learned from single atoms: {error}")
    return Study(folder, samples, settings, jobs, notes)


def _atom_inputs(dataset: xr.Dataset, samples: Samples, load: Load) -> Any:
    from bp_distributed.learning.atom_inputs import atom_inputs  # noqa: PLC0415 - after the samples are known to suffice

    places = np.flatnonzero(np.isin(dataset["sample_id"].to_numpy().astype(np.str_), samples.sample_id_s))
    return atom_inputs(dataset, places, load)


def _write(path: Path, content: dict[str, Any]) -> None:
    durable.replace_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False))


def load_learning(folder: Path) -> dict[str, Any]:
    """Return what ``learning.json`` of a folder says.

    Raises
    ------
    StoreError
        If nothing was learned there, or the file was damaged.
    """
    path = folder / LEARNING
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(str(path), "no such file; 'bpd learn' writes it") from None
    except ValueError as error:
        raise StoreError(str(path), f"is damaged ({error}); 'bpd learn' writes it again") from error
    return content
