# SPDX-License-Identifier: BSD-3-Clause
"""A small given glass goes through ``bpd run`` to its Grüneisen parameters, and into the dataset."""

import json

import numpy as np
import pytest
import xarray as xr
from given_glass import N_ATOMS, given_campaign

from bp_distributed.gather import open_dataset
from bp_distributed.units import VARIABLES

ORDER = list(VARIABLES)
GRUNEISEN = set(ORDER[ORDER.index("gruneisen_frequency") : ORDER.index("temperature")])

SECTIONS = """\
vibration: {store_vectors: float32}
gruneisen: {volume_step: 0.002}
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return given_campaign(tmp_path_factory.mktemp("stage") / "campaign", SECTIONS)


def test_the_stage_leaves_every_variable(campaign):
    (sample,) = campaign.store.plan.samples
    result = campaign.load(sample.sid, "gruneisen")
    assert set(result.variables) == GRUNEISEN
    assert result.sizes["gruneisen_mode"] == 3 * N_ATOMS - 3
    # Both are sums over atoms of the same sum over modes.
    np.testing.assert_allclose(result["atomic_gruneisen"].sum(), result["gruneisen"].sum())
    np.testing.assert_allclose(
        result["gruneisen_frequency"], campaign.load(sample.sid, "vibration")["frequency"], rtol=1e-6
    )
    vector = campaign.load(sample.sid, "vibration")["vector"].to_numpy().astype(float)
    low_i = np.einsum("k,kic,kic->i", result["gruneisen"].to_numpy()[: len(vector)], vector, vector)
    np.testing.assert_allclose(result["low_atomic_gruneisen"], low_i, atol=1e-3)  # single precision, γ of some 10
    assert float(result["volume_jump"]) == 0.0
    # The softest modes carry most of both error and h² term, and they weigh the same in every mean.
    spread = 3 * float(result["gruneisen_error"].mean())
    assert float(result["mean_rank_gruneisen"]) == pytest.approx(float(result["mean_gruneisen"]), abs=spread)


def test_the_request_tells_what_the_task_may_use(campaign):
    (task,) = [task for task in campaign.store.plan.tasks if task.stage == "gruneisen"]
    (path,) = (campaign.root / task.folder).glob("attempts/*/request.json")
    request = json.loads(path.read_text())
    assert (request["threads"], request["memory_bytes"]) == (1, 6 * 2**30)


def test_it_is_gathered(campaign):
    campaign.gather()
    with open_dataset(campaign.root / "products" / "dataset.nc") as dataset:
        assert dataset["gruneisen"].dims == ("sample", "gruneisen_mode")
        assert dataset["atomic_gruneisen"].sizes == {"row": N_ATOMS}
        assert "vector" not in dataset
        assert np.isfinite(dataset["mean_gruneisen"]).all()


def test_vectors_are_kept_where_asked_for(campaign):
    (sample,) = campaign.store.plan.samples
    result = campaign.load(sample.sid, "vibration")
    vector = result["vector"]
    assert vector.dtype == np.float32
    assert vector.shape == (result.sizes["low_mode"], N_ATOMS, 3)
    (task,) = [task for task in campaign.store.plan.tasks if task.stage == "vibration"]
    (path,) = campaign.store.folder(task).glob("result-*.nc")
    with xr.open_dataset(path) as stored:
        encoding = stored["vector"].encoding
    assert encoding["chunksizes"] == (min(64, result.sizes["low_mode"]), N_ATOMS, 3)
    assert encoding["fletcher32"]
    np.testing.assert_allclose((vector**2).sum(("atom", "cart")), 1.0, rtol=1e-5)
