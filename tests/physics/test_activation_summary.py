# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from bp_distributed.physics.activation_summary import summarise
from bp_distributed.physics.artn import Code

NAN = np.nan
COUNTS = ("n_tried", "n_succeeded", "n_connected", "n_unique")
ENERGIES = (
    "mean_activation_energy",
    "refined_mean_activation_energy",
    "connected_mean_activation_energy",
    "unique_mean_activation_energy",
    "min_activation_energy",
)


def batch_of(*rows):
    """Return a batch of one trial axis; a row is a list of (code, energy, refined, index, connected, first)."""
    names = (
        "search_code",
        "activation_energy",
        "refined_activation_energy",
        "saddle_index",
        "saddle_connected",
        "saddle_first_trial",
    )
    values = np.array(rows, dtype=float).reshape(len(rows), -1, 6)
    return {
        name: values[:, :, place] if "energy" in name else values[:, :, place].astype(np.int16)
        for place, name in enumerate(names)
    }


def failed(code):
    return (code, NAN, NAN, -1, -1, -1)


def found(energy, refined, *, index=1, connected=1, first):
    return (Code.SUCCESS, energy, refined, index, connected, first)


def of_one(*trials):
    return {name: values.item() for name, values in summarise(batch_of(trials)).items()}


def test_each_choice_of_mean_by_hand():
    atom = of_one(
        found(1.01, 1.00, first=0),
        found(3.02, 3.00, first=1),
        found(1.03, 1.00, first=0),  # the first saddle again
        found(9.00, 8.00, first=3, connected=0),
        failed(Code.BASIN),
        found(5.00, 6.00, first=5, index=2),  # connected, but on a second-order saddle
    )
    assert [atom[name] for name in COUNTS] == [6, 5, 3, 2]
    assert [atom[name] for name in ENERGIES] == pytest.approx(
        [(1.01 + 3.02 + 1.03 + 9.0 + 5.0) / 5, (1 + 3 + 1 + 8 + 6) / 5, 5 / 3, 2.0, 1.0]
    )


@pytest.mark.parametrize("code", [code for code in Code if code not in {Code.NOT_TRIED, Code.SUCCESS}])
def test_a_failure_is_counted_as_tried_and_nothing_else(code):
    with_energy = (code, 4.0, NAN, -1, -1, -1)  # as where a search collapses at the very end
    atom = of_one(with_energy, failed(Code.NOT_TRIED))
    assert [atom[name] for name in COUNTS] == [1, 0, 0, 0]
    assert np.isnan([atom[name] for name in ENERGIES]).all()


def test_an_atom_never_tried_has_nothing():
    atom = of_one(failed(Code.NOT_TRIED), failed(Code.NOT_TRIED))
    assert [atom[name] for name in COUNTS] == [0, 0, 0, 0]
    assert np.isnan([atom[name] for name in ENERGIES]).all()


def test_unknown_connection_counts_for_the_paper_alone():
    atom = of_one(found(2.0, NAN, connected=-1, index=-1, first=0))
    assert [atom[name] for name in COUNTS] == [1, 1, 0, 0]
    assert atom["mean_activation_energy"] == 2.0
    assert np.isnan([atom[name] for name in ENERGIES[1:]]).all()


def test_a_saddle_first_found_by_a_trial_that_does_not_count_is_still_one():
    atom = of_one(
        found(2.0, 2.0, connected=0, first=0),
        found(2.0, 2.1, first=0),
        found(2.0, 2.2, first=0),
    )
    assert [atom[name] for name in COUNTS] == [3, 3, 2, 1]
    assert atom["unique_mean_activation_energy"] == 2.1


def test_counting_agrees_with_a_slow_count_whatever_the_order_of_atoms():
    rng = np.random.default_rng(4)
    code = rng.choice([Code.SUCCESS, Code.SUCCESS, Code.BASIN, Code.NOT_TRIED], (40, 12))
    first = np.minimum(rng.integers(0, 12, (40, 12)), np.arange(12))
    energy = np.where(code == Code.SUCCESS, rng.gamma(3.0, 0.5, (40, 12)), NAN)
    batch = {
        "search_code": code.astype(np.int8),
        "activation_energy": energy,
        "refined_activation_energy": energy - 0.01,
        "saddle_index": np.ones((40, 12), np.int8),
        "saddle_connected": rng.integers(0, 2, (40, 12)).astype(np.int8),
        "saddle_first_trial": first.astype(np.int16),
    }
    summary = summarise(batch)
    for atom in range(40):
        good = [t for t in range(12) if code[atom, t] == Code.SUCCESS and batch["saddle_connected"][atom, t] == 1]
        lead = {first[atom, t]: t for t in reversed(good)}
        assert summary["n_unique"][atom] == len(lead)
        if lead:
            expected = np.mean([energy[atom, t] - 0.01 for t in lead.values()])
            assert summary["unique_mean_activation_energy"][atom] == pytest.approx(expected, rel=1e-12)
    order = rng.permutation(40)
    shuffled = summarise({name: values[order] for name, values in batch.items()})
    for name, values in summary.items():
        np.testing.assert_array_equal(shuffled[name], values[order])


def test_an_empty_batch_is_empty():
    empty = summarise({name: values[:0] for name, values in batch_of([failed(Code.BASIN)]).items()})
    assert {values.shape for values in empty.values()} == {(0,)}
    assert all(empty[name].dtype == np.int32 for name in COUNTS)
