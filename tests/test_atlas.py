# SPDX-License-Identifier: BSD-3-Clause
"""The atlas on disk: page, figures, data and text, whatever a campaign has or lacks."""

import hashlib
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from chromium import PROGRAM, Chromium
from small_campaign import write_campaign
from synthetic import given_items
from synthetic_atlas import source_of, trended
from typer.testing import CliRunner

from bp_distributed.atlas import page as atlas_page
from bp_distributed.atlas.contradictions import CONTRADICTIONS, NOT_SAID
from bp_distributed.atlas.page import plain, write_atlas
from bp_distributed.atlas.panel import Missing, Verdict
from bp_distributed.atlas.rows import ROWS, Row, title_of
from bp_distributed.atlas.shown import Provenance
from bp_distributed.cli import app
from bp_distributed.errors import CampaignError, ConfigError
from bp_distributed.report import ReportContext, write_report

PROVENANCE = Provenance(
    "a <b>planted</b> campaign", "/there", "uuid", "plan", "Cu-Zr_4.eam.fs", "ab" * 32, {"numpy": "2"}
)


@pytest.fixture(scope="module")
def source():
    return source_of(trended(n_melts=3))


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    """The folder of an atlas of planted trends."""
    folder = tmp_path_factory.mktemp("atlas")
    (folder / "figures").mkdir()
    (folder / "figures" / "Y3.pdf").write_bytes(b"of an older atlas")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    write_atlas(folder, source, PROVENANCE)
    return folder


@pytest.fixture(scope="module")
def data(written):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((written / "atlas.json").read_text(encoding="utf-8"), parse_constant=refuse)


# ---- rows -------------------------------------------------------------------------------------------------------------


def test_all_rows_of_both_papers_are_there_in_order():
    assert [row.row for row in ROWS] == [f"T{n}" for n in range(1, 16)] + [f"Y{n}" for n in range(1, 14)]
    assert title_of("T4") == "Boson-peak intensity and frequency against cooling rate"


def test_what_data_refuse_to_show_is_missing(monkeypatch):
    def refuse(source):
        raise CampaignError("too few atoms for a map")

    monkeypatch.setattr("bp_distributed.atlas.tao_samples.t1", refuse)
    assert Row("T1", "title", "tao_samples").make(None) == Missing(
        "T1", "title", "too few atoms for a map", "bpd run, then bpd atlas"
    )


def test_a_campaign_without_results_lacks_every_row_and_names_commands(tmp_path):
    bare = [replace(item, stages={}) for item in trended(n_melts=1)]
    known = {command.callback.__name__ for command in app.registered_commands}
    for row in ROWS:
        found = row.make(source_of(bare))
        assert isinstance(found, Missing), row.row
        assert (found.row, found.title) == (row.row, row.title)
        assert found.what
        named = re.findall(r"bpd (\w+)", found.command)
        assert named, found.command
        assert set(named) <= known, found.command


# ---- data -------------------------------------------------------------------------------------------------------------

NUMBER = (int, float)
CLAIM = {"text": str, "paper": str, "ours": str, "comparable": bool, "why": str, "verdict": str}
BASIS = {"samples": int, "atoms": str, "rates": str, "potential": str, "estimator": str, "uncertainty": str}


def of_types(found, expected):
    assert set(found) == set(expected)
    for key, kind in expected.items():
        assert isinstance(found[key], kind), key


def test_the_data_keep_their_schema(data):
    of_types(
        data,
        {
            "format": str, "schema": int, "created": str, "campaign": dict, "potential": dict, "versions": dict,
            "papers": dict, "verdicts": dict, "limits": list, "rows": list, "contradictions": list, "not_said": dict,
        },
    )  # fmt: skip
    assert data["schema"] == 1
    of_types(data["campaign"], {"name": str, "uuid": str, "plan_sha256": str, "config": str})
    of_types(data["potential"], {"label": str, "sha256": str})
    for row in data["rows"]:
        if row["status"] == "missing":
            of_types(row, {"row": str, "title": str, "status": str, "missing": str, "command": str})
            continue
        of_types(
            row,
            {
                "row": str, "title": str, "status": str, "caption": str, "basis": dict, "claims": list, "values": dict,
                "figure": (dict, type(None)),
            },
        )  # fmt: skip
        of_types(row["basis"], BASIS)
        for claim in row["claims"]:
            of_types(claim, CLAIM)
            assert claim["verdict"] in set(Verdict)


def test_verdicts_are_counted_over_all_rows(data):
    claims = [claim["verdict"] for row in data["rows"] for claim in row.get("claims", ())]
    assert data["verdicts"] == {verdict.value: claims.count(verdict.value) for verdict in Verdict}
    assert data["verdicts"]["supported"] >= 5


def test_figures_are_pdf_with_fonts_and_match_their_digest(written, data):
    shown = [row["figure"] for row in data["rows"] if row.get("figure")]
    assert len(shown) >= 9
    for figure in shown:
        content = (written / figure["file"]).read_bytes()
        assert content.startswith(b"%PDF-")
        assert b"/FontFile2" in content, "fonts are embedded as TrueType"
        assert b"/Type3" not in content
        assert hashlib.sha256(content).hexdigest() == figure["sha256"]


def test_an_older_figure_of_a_missing_row_goes_and_other_files_stay(written):
    assert not (written / "figures" / "Y3.pdf").exists()
    assert (written / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert not list(written.rglob(".*")), "nothing half-written is left"


def test_a_figure_that_data_refuse_is_said_in_the_caption(source, tmp_path):
    def refuse():
        raise CampaignError("two points are no curve")

    (tmp_path / "figures").mkdir()
    panel = replace(ROWS[0].make(source), draw=refuse)
    shown = atlas_page._shown(panel, tmp_path)
    assert shown.caption.endswith("No figure: two points are no curve.")
    assert (shown.pdf, list((tmp_path / "figures").iterdir())) == ("", [])


def test_data_without_a_value_are_null():
    found = plain({"a": np.float32(np.nan), "b": (np.int8(3), math.inf), Verdict.SUPPORTED: np.array([[1.5, np.nan]])})
    assert found == {"a": None, "b": [3, None], "supported": [[1.5, None]]}
    assert plain(np.bool_(True)) is True


def test_limits_are_said_of_each_size_by_itself():
    dataset = source_of([*trended(n_melts=2), *given_items((256,))]).dataset
    found = atlas_page._limits(dataset)
    for size in (108, 256):
        assert any(line.startswith(f"Samples of {size} atoms. Finite size: with {size} atoms") for line in found)
    phonon = next(line for line in found if line.startswith("Samples of 108 atoms. The first transverse phonons"))
    assert "8.0 rad/ps on average" in phonon


def test_a_failure_in_the_middle_leaves_the_older_page(written, source, monkeypatch):
    before = (written / "atlas.html").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(atlas_page, "supplement", fail)
    monkeypatch.setattr(atlas_page, "ROWS", ())
    with pytest.raises(OSError, match="disk full"):
        write_atlas(written, source, PROVENANCE)
    assert (written / "atlas.html").read_bytes() == before


# ---- page and text ----------------------------------------------------------------------------------------------------


def test_the_page_fetches_nothing_and_escapes_names(written):
    page = (written / "atlas.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt;planted&lt;/b&gt; campaign" in page
    for target in re.findall(r"(?:src|href)=\"([^\"]*)\"", page):
        assert target.startswith(("#", "data:image/png;base64,")), target[:80]
    assert not re.search(r"@import|url\(|<script|<link|<iframe", page)


def test_every_row_has_its_place_and_every_verdict_its_mark(written, data):
    page = (written / "atlas.html").read_text(encoding="utf-8")
    for row in ROWS:
        assert f'<section class="figure" id="{row.row}">' in page
    for verdict, mark in atlas_page.MARKS.items():
        words = verdict.value.removesuffix(" at this size")
        assert page.count(f"{mark} {words}</td>") == data["verdicts"][verdict.value]


def test_the_text_has_every_claim_and_what_is_missing(written, data):
    text = (written / "supplement.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    for row in data["rows"]:
        for claim in row.get("claims", ()):
            assert any(line.startswith(f"| {row['row']} | {claim['text']}") for line in lines)
        if row["status"] == "missing":
            assert row["missing"] in text
    table = lines[lines.index("| --- | --- | --- | --- | --- | --- |") :]
    assert {line.replace("\\|", "").count("|") for line in table[: table.index("")]} == {7}
    assert "the largest group alike" in text
    assert data["limits"]
    assert all(limit in text for limit in data["limits"])


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; install it with: sh deploy/debian.sh")
def test_a_browser_shows_the_first_screen_and_loads_nothing(written):
    with Chromium(1280, 900) as browser:
        browser.open((written / "atlas.html").as_uri())
        assert browser.evaluate("performance.getEntriesByType('resource').length") == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 1280
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 300)")
        place = browser.evaluate("document.querySelector('#verdicts').getBoundingClientRect().top")
        assert place < 450, "the verdicts are on the first screen"
        assert "Rejected spectra" in browser.text()


# ---- what the papers contradict ---------------------------------------------------------------------------------------


def test_numbers_about_the_papers_follow_from_theirs():
    text = " ".join(one.finding for one in CONTRADICTIONS)
    assert f"{math.log10(2.8310 / 0.004657):.1f} decades" in text
    assert f"= {190 / 19652:.4f}" in text
    assert f"{len(np.arange(10, 14.0001, 0.005))}" in text
    assert f"{5 * 0.6582:.1f} meV, and 5 meV are {5 / 0.6582:.1f} rad/ps" in text
    assert {one.paper for one in CONTRADICTIONS} == set(NOT_SAID) == {"T", "Y"}


# ---- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_an_atlas_of_a_campaign_that_has_nothing_yet(tmp_path):
    campaign = write_campaign(tmp_path / "campaign")
    campaign.start()
    answer = CliRunner().invoke(app, ["atlas", str(campaign.root)])
    assert answer.exit_code == 0, answer.output
    assert campaign.atlas_path.is_file()
    found = json.loads((campaign.atlas_path.parent / "atlas.json").read_text(encoding="utf-8"))
    assert {row["status"] for row in found["rows"]} == {"missing"}
    assert found["campaign"]["uuid"] == campaign.store.identity["uuid"]


def test_rows_reach_what_the_dataset_leaves_out(campaign, monkeypatch):
    asked = {}

    def keep(folder, source, *rest):
        asked["source"] = source

    monkeypatch.setattr(atlas_page, "write_atlas", keep)
    campaign.run(workers=0)
    monkeypatch.setattr(campaign, "to_xarray", lambda: source_of(trended(n_melts=1)).dataset)
    campaign.atlas()
    sample_id = campaign.store.plan.samples[0].sid
    assert asked["source"].load(sample_id, "structure").equals(campaign.load(sample_id, "structure"))
    assert asked["source"].load(sample_id, "activation") is None
    assert asked["source"].learning == campaign.root / "products" / "training"


def test_the_report_links_to_the_atlas(tmp_path):
    page = write_report(tmp_path, ReportContext("name", "/there", atlas="../atlas/atlas.html"))
    assert 'href="../atlas/atlas.html"' in page.read_text(encoding="utf-8")
    assert "../atlas/" not in write_report(tmp_path, ReportContext("name", "/there")).read_text(encoding="utf-8")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    campaign = write_campaign(tmp_path / "campaign")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--out: got .*file, which is a file; expected a folder"):
        campaign.atlas(tmp_path / "file")
