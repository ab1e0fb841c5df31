# SPDX-License-Identifier: BSD-3-Clause
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from synthetic import given_items, labelled, melted_items

from bp_distributed.errors import CampaignError, StoreError
from bp_distributed.gather import GatherItem, gather, of_sample, open_dataset, write_dataset
from bp_distributed.store import load_stage
from bp_distributed.units import VARIABLES

SINGLE = 1e-6  # relative; spectra are kept in single precision


@pytest.fixture(scope="module")
def items():
    return melted_items()


@pytest.fixture(scope="module")
def dataset(items):
    return gather(items, {"title": "a test", "bp_potential_sha256": "ab" * 32})


def test_every_sample_keeps_its_own_numbers(items, dataset):
    for index, item in enumerate(items):
        own = of_sample(dataset, index)
        for name in ("position", "species", "cell", "energy", "history_temperature", "history_volume"):
            np.testing.assert_array_equal(own[name], item.stages["quench"][name])
        if "vibration" in item.stages:
            for name in ("atomic_vdos", "atomic_intensity", "partial_pdf", "participation_ratio"):
                stage = item.stages["structure" if name == "partial_pdf" else "vibration"]
                expected = stage[name].to_numpy()
                found = own[name].to_numpy()
                if name == "participation_ratio":
                    assert np.isnan(found[len(expected) :]).all()
                    found = found[: len(expected)]
                np.testing.assert_allclose(found, expected, rtol=SINGLE)
            np.testing.assert_array_equal(own["frequency"], item.stages["vibration"]["frequency"])


def test_spectra_of_different_length_share_one_grid(items, dataset):
    lengths = {len(item.stages["vibration"]["omega"]) for item in items[:-1]}
    assert dataset.sizes["omega_bin"] == max(lengths)
    np.testing.assert_allclose(dataset["omega"], (np.arange(max(lengths)) + 0.5) * 0.5)
    area = dataset["vdos"][:-1].sum("omega_bin") * 0.5
    # 3 of the 3N modes are translations, and left out
    np.testing.assert_allclose(area, 1.0 - 1.0 / 256, rtol=1e-5)
    assert not np.isnan(dataset["vdos"][:-1]).any()


def test_a_spectrum_known_below_a_cut_is_unknown_beyond_it(items):
    stage = items[0].stages["vibration"]
    n_low, n_bins = int((stage["frequency"] < 10.0).sum()), 20
    low = stage.isel(mode=slice(0, n_low), omega_bin=slice(0, n_bins), kpm_bin=slice(0, 150))
    partial = replace(items[0], stages={**items[0].stages, "vibration": low})
    dataset = gather([partial, items[2]], {})
    known = ~np.isnan(dataset["vdos"].to_numpy())
    assert known[0].tolist() == [True] * n_bins + [False] * (known.shape[1] - n_bins)
    assert known[1].all()
    assert np.isfinite(dataset["frequency"][0]).sum() == n_low
    assert int(dataset["n_modes"][0]) == 3 * 256 - 3
    # Kernel polynomials cover every frequency: beyond the highest there is nothing.
    assert (dataset["kpm_vdos"][0, 150:] == 0.0).all()


def test_a_sample_without_a_stage_stays_listed_as_missing(items, dataset):
    assert dataset["accepted"].to_numpy().tolist() == [1, 0] + [1] * (len(items) - 3) + [-1]
    assert dataset["robust_accepted"].to_numpy().tolist() == [1] * (len(items) - 1) + [-1]
    assert np.isnan(dataset["intensity"][-1])
    assert np.isnan(dataset["vdos"][-1]).all()
    assert np.isfinite(dataset["energy"]).all()
    assert dataset.attrs["bp_samples"] == len(items)
    assert dataset.attrs["bp_samples_accepted"] == len(items) - 2
    assert dataset.attrs["bp_samples_rejected"] == 1
    assert dataset.attrs["bp_samples_unavailable"] == 1
    nothing = GatherItem("0" * 20, "planned", "melt-9", 1e12, {"Cu": 0.5, "Zr": 0.5}, 256)
    assert gather([*items, nothing], {})["row_size"].to_numpy()[-1] == 0


def test_sizes_may_differ():
    given = given_items((108, 256))
    dataset = gather([*melted_items(n_melts=1), *given], {})
    assert dataset["row_size"].to_numpy().tolist() == [256, 256, 256, 108, 256]
    assert dataset["history_row_size"].to_numpy()[3:].tolist() == [0, 0]
    own = of_sample(dataset, 3)
    np.testing.assert_array_equal(own["position"], given[0].stages["relax"]["position"])
    assert np.isnan(own["frequency"][3 * 108 - 3 :]).all()
    assert not np.isnan(own["frequency"][: 3 * 108 - 3]).any()


def warm_stage(n_bins, series=(100.0, 300.0)):
    vdos = np.arange(len(series) * n_bins, dtype=float).reshape(len(series), n_bins)
    return labelled(temperature=series, thermal_omega=1.0 + 0.25 * np.arange(n_bins), inherent_vdos=vdos)


def test_spectra_of_warm_glasses_share_their_temperatures_and_the_longest_grid():
    items = given_items((108, 256))
    for item, n_bins in zip(items, (5, 7), strict=True):
        item.stages["temperatures"] = warm_stage(n_bins)
    dataset = gather(items, {})
    assert dataset["inherent_vdos"].dims == ("sample", "temperature", "thermal_bin")
    np.testing.assert_array_equal(dataset["temperature"], [100.0, 300.0])
    np.testing.assert_array_equal(dataset["thermal_omega"], 1.0 + 0.25 * np.arange(7))
    np.testing.assert_array_equal(dataset["inherent_vdos"][0, :, :5], np.arange(10).reshape(2, 5))
    assert np.isnan(dataset["inherent_vdos"][0, :, 5:]).all()
    items[1].stages["temperatures"] = warm_stage(7, (100.0, 350.0))
    with pytest.raises(CampaignError, match="another grid of 'temperature'; its stage must run again"):
        gather(items, {})


def test_only_one_sample_is_in_memory_at_a_time():
    made = []
    most = []

    def loader(stage):
        def load():
            copy = stage.copy(deep=True)
            made.append(weakref.ref(copy))
            most.append(sum(reference() is not None for reference in made))
            return copy

        return load

    items = [
        replace(item, stages={name: loader(stage) for name, stage in item.stages.items()}) for item in melted_items()
    ]
    seen = []
    gather(items, {}, lambda: seen.append(1))
    assert max(most) <= 2  # the one that was just replaced, and its successor
    assert len(seen) == len(items)


def test_many_samples_are_read_by_several_processes_to_the_same_dataset(items, dataset, monkeypatch):
    monkeypatch.setattr("bp_distributed.gather._FEW_SAMPLES", 2)
    seen = []
    again = gather(items, {"title": "a test", "bp_potential_sha256": "ab" * 32}, lambda: seen.append(1))
    xr.testing.assert_equal(again, dataset)
    assert len(seen) == len(items)


def _of_this_process(stage):
    return stage.assign_attrs(elements=f"process {os.getpid()}")


def test_the_readers_are_other_processes(items, monkeypatch):
    monkeypatch.setattr("bp_distributed.gather._FEW_SAMPLES", 2)
    stages = {"quench": partial(_of_this_process, items[0].stages["quench"])}
    elements = gather([replace(item, stages=stages) for item in items[:3]], {}).attrs["elements"].split()
    assert elements[0] == "process"
    assert int(elements[1]) != os.getpid()


def test_a_damaged_result_is_named_from_whichever_process_reads_it(items, monkeypatch):
    monkeypatch.setattr("bp_distributed.gather._FEW_SAMPLES", 2)
    damaged = replace(items[1], stages={"quench": partial(load_stage, [Path("/nowhere/quench-12345678")])})
    with pytest.raises(StoreError, match=r"^/nowhere/quench-12345678: holds no committed result"):
        gather([items[0], damaged, *items[2:]], {})


def test_comes_back_from_disk_as_it_was(dataset, tmp_path):
    path = tmp_path / "dataset.nc"
    write_dataset(dataset, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["dataset.nc"]
    with open_dataset(path) as stored:
        xr.testing.assert_equal(stored.load(), dataset)
        assert stored.attrs == dataset.attrs
        for name, variable in stored.variables.items():
            assert variable.dtype == dataset[name].dtype, name
            assert variable.dtype.kind in "biufU", name
            if name in VARIABLES:
                assert variable.attrs["units"] == VARIABLES[name].units


def test_opens_lazily(dataset, tmp_path):
    write_dataset(dataset, tmp_path / "dataset.nc")
    with open_dataset(tmp_path / "dataset.nc") as stored:
        assert not stored["atomic_vdos"].variable._in_memory
    with open_dataset(tmp_path / "dataset.nc", chunks={}) as stored:
        assert stored["frequency"].chunks is not None


def test_the_file_says_what_it_is(dataset, tmp_path):
    path = tmp_path / "dataset.nc"
    write_dataset(dataset, path)
    code = """
import json, sys, netCDF4
with netCDF4.Dataset(sys.argv[1]) as file:
    print(json.dumps({
        "convention": file.Conventions,
        "potential": file.bp_potential_sha256,
        "counted": file["row_size"].sample_dimension,
        "filters": file["vdos"].filters(),
        "chunks": file["vdos"].chunking(),
        "float32": str(file["vdos"].dtype), "float64": str(file["frequency"].dtype),
        "text": str(file["sample_id"].dtype),
        "fill": "_FillValue" in file["vdos"].ncattrs(),
        "coordinates": file["intensity"].coordinates.split(),
    }))
"""
    import json

    found = json.loads(
        subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout
    )
    assert found["convention"].startswith("CF-1.11")
    assert found["potential"] == "ab" * 32
    assert found["counted"] == "row"
    assert found["filters"]["fletcher32"]
    assert found["filters"]["shuffle"]
    assert found["filters"]["complevel"] == 4
    assert (found["float32"], found["float64"], found["text"]) == ("float32", "float64", "|S1")
    assert found["fill"]
    assert "cooling_rate" in found["coordinates"]


def test_a_failed_write_leaves_the_old_file(dataset, tmp_path):
    path = tmp_path / "dataset.nc"
    write_dataset(dataset, path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="Invalid value for attr"):
        write_dataset(dataset.assign_attrs(wrong=object()), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_samples_that_do_not_fit_are_refused(items):
    shifted = items[0].stages["structure"].assign(r=items[0].stages["structure"]["r"] + 0.05)
    other = replace(items[0], stages={**items[0].stages, "structure": shifted})
    with pytest.raises(CampaignError, match=r"cu50zr50-2e\+12-0 .*another grid of 'r'"):
        gather([*items, other], {})
    with pytest.raises(CampaignError, match="has 256 atoms, expected 500"):
        gather([replace(items[0], n_atoms=500)], {})
    with pytest.raises(CampaignError, match="no sample to gather"):
        gather([], {})


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(StoreError, match="'bpd gather' writes it"):
        open_dataset(tmp_path / "dataset.nc")
