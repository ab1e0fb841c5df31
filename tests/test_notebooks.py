# SPDX-License-Identifier: BSD-3-Clause
"""The notebooks run from top to bottom, in order, on one campaign of real physics; on Slurm where there is one."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from slurm_site import missing
from small_campaign import SMALL, write_campaign

from bp_distributed.detach import stop
from bp_distributed.job_record import read_records
from bp_distributed.lock import live_owner

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TINY = SMALL.replace("training: {", "training: {target: robust_intensity, ")


@pytest.fixture(scope="module")
def site(request):
    """A Slurm where it is installed; otherwise the notebooks run on this machine alone."""
    return None if missing() else request.getfixturevalue("slurm_session")


@pytest.fixture(scope="module")
def executed(site, tmp_path_factory):
    """All notebooks, run one after the other on one campaign; text, tables and errors of their cells by name."""
    folder = tmp_path_factory.mktemp("notebooks")
    campaign = write_campaign(folder / "campaign", TINY)
    environment = {"BPD_CAMPAIGN": str(campaign.root), "BPD_PROFILE": "ci-slurm" if site else "laptop",
                   "OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                   "XDG_CACHE_HOME": str(folder / "cache")}  # fmt: skip
    books = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            for path in NOTEBOOKS:
                book = nbformat.read(path, as_version=4)
                NotebookClient(book, timeout=150, resources={"metadata": {"path": str(folder)}}).execute()
                books[path.stem] = book
                if place := os.environ.get("BPD_EXECUTED_NOTEBOOKS"):
                    nbformat.write(book, Path(place) / path.name)
        finally:
            if live_owner(campaign.root):
                stop(campaign.root, 30)
    return campaign, books


def shown(book):
    """Return everything a notebook shows, as text."""
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text", "") + str(output.get("data", "")) for output in outputs)


def test_they_are_five_short_and_without_output():
    assert [path.name[0] for path in NOTEBOOKS] == list("12345")
    for path in NOTEBOOKS:
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            assert not cell.get("outputs"), f"{path.name}: clear the output"
            assert len("".join(cell["source"]).splitlines()) <= 20
        assert len(content["cells"]) <= 20


def test_1_plan_and_preview(executed, site):
    text = shown(executed[1]["1_plan_and_preview"])
    assert "glass-5e+14-r1" in text
    assert "core_hours" in text
    assert ("#SBATCH" in text) == (site is not None)


def test_2_launch_and_monitor(executed, site):
    text = shown(executed[1]["2_launch_and_monitor"])
    assert "driver started: pid" in text
    assert "14 of 14 tasks ended" in text
    assert "core-hours spent" in text
    assert "status.html" in text
    if site:
        assert {record.lane for record in read_records(executed[0].root)} == {"single", "mpi"}


def test_3_failures_and_resubmission(executed):
    text = shown(executed[1]["3_failures_and_resubmission"])
    assert "set aside" in text
    assert "bpd retry glass-2.5e+14-r2 -C campaign" in text
    assert "14 results verified; clean" in text


def test_4_gather_and_explore(executed):
    text = shown(executed[1]["4_gather_and_explore"])
    assert text.count("image/png") == 3
    assert "no_boson_peak" in text


def test_5_train_and_report(executed):
    campaign, books = executed
    text = shown(books["5_train_and_report"])
    assert "network" in text
    assert campaign.report_path.is_file()


def test_no_cell_warns(executed):
    for name, book in executed[1].items():
        outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
        noise = [output["text"] for output in outputs if output.get("name") == "stderr"]
        assert noise == [], name
    assert os.environ.get("BPD_CAMPAIGN") is None
