# SPDX-License-Identifier: BSD-3-Clause
"""What people see, in a real browser: the Dask dashboard, the status page, a notebook's table.

``BPD_WRITE_FIGURES=1`` keeps the pictures in ``docs/figures``.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from chromium import PROGRAM, Chromium
from matplotlib.image import imread
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook
from slurm_campaign import done, drive, ended, slurm_campaign, wait_for
from small_campaign import SMALL, write_campaign
from test_status_page import busy_status

from bp_distributed import detach
from bp_distributed.status import FailureGroup
from bp_distributed.status_page import status_html, write_status_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; install it with: sh deploy/debian.sh"),
]

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
LEAST_INK, LEAST_COLOURS = 0.02, 20
"""Share of pixels that differ from the most frequent one, and number of colours, of a picture that shows something."""

GROUPS = [
    FailureGroup("out_of_memory", 13, ("quench", "vibration"), "the step ran out of memory", ("glass-r1",), True),
    FailureGroup("no_boson_peak", 13, ("vibration",), "peak lies below the first phonon", ("glass-r2",), False),
]


def not_blank(png, name=""):
    """Assert that a picture shows something, and keep it under its name if asked to."""
    pixels = (imread(io.BytesIO(png), format="png")[..., :3] * 255).astype(np.uint8).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    assert len(colours) >= LEAST_COLOURS, f"{len(colours)} colours"
    assert 1 - counts.max() / counts.sum() >= LEAST_INK, "the picture is blank"
    if name and os.environ.get("BPD_WRITE_FIGURES") == "1":
        (FIGURES / f"{name}.png").write_bytes(png)
    return colours


@pytest.fixture
def driven(tmp_path, monkeypatch):
    """A campaign of toy steps with a driver of its own at work on two workers."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("toy_site")))
    campaign = write_campaign(tmp_path / "campaign", SMALL.replace("replicas: 2", "replicas: 30"))
    campaign.start()
    (campaign.root / "toy.json").write_text('{"quench": "slow 0.7", "vibration": "slow 0.4"}')
    detach.start_detached(campaign.root, ["--workers", "2"])
    yield campaign
    detach.stop(campaign.root, 60)


STREAM = "Bokeh.documents[0].get_model_by_name('task_stream').renderers[0].data_source.data.name"


def test_the_dashboard_during_a_run(driven):
    with Chromium(1280, 900) as browser:
        browser.until_opens(lambda: str(driven.dashboard_link()))
        browser.until(
            f"window.Bokeh && Bokeh.documents.length && new Set(Array.from({STREAM})).size >= 3 && {STREAM}.length >= 15"
        )
        stages = set(browser.evaluate(f"Array.from({STREAM})"))
        assert stages <= {"melt", "quench", "structure", "vibration"}
        assert browser.evaluate("document.title") == "Dask: Status"
        assert {"Workers", "Tasks", "Info"} <= set(browser.text().split())
        not_blank(browser.screenshot(whole=False), "dask_dashboard")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_status_page(tmp_path, dark):
    path = write_status_page(tmp_path, busy_status(), GROUPS)
    with Chromium(1180, 800) as browser:
        browser.open(path.as_uri(), dark=dark)
        text = browser.text()
        for words in ("cu50zr50-rates", "2,613\ncore-hours left", "bpd retry --failed --cause out_of_memory", "42 %",
                      "What went wrong", "Running now", "Batch jobs"):  # fmt: skip
            assert words in text, words
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "it must not scroll sideways"
        )
        assert contrast(browser) >= 7, "ink on paper"
        not_blank(browser.screenshot())


def test_the_status_page_on_a_telephone(tmp_path):
    path = write_status_page(tmp_path, busy_status(), GROUPS)
    with Chromium(500, 800) as browser:
        browser.open(path.as_uri())
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def contrast(browser):
    """Return the contrast of text and page (WCAG 2)."""
    colours = browser.evaluate("['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k])")
    light = sorted(luminance(colour) for colour in colours)
    return (light[1] + 0.05) / (light[0] + 0.05)


def luminance(colour):
    parts = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_table_in_a_notebook(tmp_path):
    (tmp_path / "table.html").write_text(status_html(busy_status(), GROUPS), encoding="utf-8")
    cell = new_code_cell(
        "from pathlib import Path\nfrom IPython.display import HTML\nHTML(Path('table.html').read_text())"
    )
    book = new_notebook(cells=[cell])
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    (tmp_path / "book.html").write_text(HTMLExporter().from_notebook_node(book)[0], encoding="utf-8")
    with Chromium(1180, 800) as browser:
        browser.open((tmp_path / "book.html").as_uri())
        assert "2,613\ncore-hours left" in browser.text()
        cells = "Array.from(document.querySelectorAll('.bpd td:first-child')).map(c => getComputedStyle(c).textAlign)"
        assert set(browser.evaluate(cells)) == {"left"}, "the notebook's own style wins over ours"
        wide = "Array.from(document.querySelectorAll('.bpd th')).filter(c => c.scrollWidth > c.clientWidth).map(c => c.innerText)"
        assert browser.evaluate(wide) == [], "heads run into each other"
        not_blank(browser.screenshot())


@pytest.mark.xdist_group("slurm")
def test_status_page_and_notebook_during_a_run_on_slurm(slurm_site, tmp_path):
    """Two lanes at work, one sample short of memory, one that breaks its step."""
    campaign = slurm_campaign(tmp_path / "my-campaign", replicas=40)
    hungry, broken = [task.owner for task in campaign.store.plan.tasks if task.stage == "quench"][:2]
    toys = {"quench": "slow 1", "vibration": "slow 2", f"quench-{hungry}": "no memory", f"quench-{broken}": "abort"}
    (campaign.root / "toy.json").write_text(json.dumps(toys))
    driver = drive(campaign)
    wait_for(lambda: len(done(campaign, "vibration")) >= 2 and len(campaign.failures()) == 2, "results and failures")
    cell = f"from bp_distributed import Campaign\ncampaign = Campaign({str(campaign.root)!r})\ncampaign"
    book = new_notebook(cells=[new_code_cell(cell)])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    book.cells[0].source = "campaign"
    (tmp_path / "book.html").write_text(HTMLExporter().from_notebook_node(book)[0], encoding="utf-8")
    with Chromium(1180, 800) as browser:
        for path, name in ((campaign.status_page(), "status_page"), (tmp_path / "book.html", "notebook_table")):
            browser.open(path.as_uri())
            text = browser.text()
            for words in ("Running now", "Batch jobs", "What went wrong", "crashed", "out_of_memory", "single", "mpi"):
                assert words in text, f"{name}: {words}"
            not_blank(browser.screenshot(), name)
    campaign.stop(60)
    ended(driver, 10)
