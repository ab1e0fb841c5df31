# SPDX-License-Identifier: BSD-3-Clause
"""More memory only after it ran out, more time only after a timeout, nothing after anything else."""

import pytest

from bp_distributed.errors import TooLargeError
from bp_distributed.ladder import next_shape
from bp_distributed.profile import Lane, Shape

LANE = Lane(
    name="quench",
    system="slurm",
    interface="lo",
    cores=4,
    memory=8,
    walltime="01:00:00",
    max_memory=32,
    max_walltime="04:00:00",
)


@pytest.mark.parametrize(
    ("causes", "shape"),
    [
        ((), Shape("quench")),
        (("worker_lost", "node_failure", "preempted", "crashed", "killed"), Shape("quench")),
        (("out_of_memory",), Shape("quench", 2)),
        (("out_of_memory", "node_failure", "out_of_memory"), Shape("quench", 4)),
        (("timeout",), Shape("quench", 1, 2)),
        (("timeout", "out_of_memory", "timeout"), Shape("quench", 2, 4)),
    ],
)
def test_the_step_follows_from_the_causes_alone(causes, shape):
    assert next_shape(LANE, causes, {}) == shape


def test_what_was_not_enough_at_the_top_is_given_up_with_the_cure():
    with pytest.raises(TooLargeError, match=r"more memory than the 32 GiB of lane quench; raise its max_memory"):
        next_shape(LANE, ["out_of_memory"] * 3, {})
    with pytest.raises(TooLargeError, match="max_walltime"):
        next_shape(LANE, ["timeout"] * 3, {})
    bare = Lane(name="bare", system="slurm", interface="lo", cores=1, memory=2, walltime="01:00:00")
    with pytest.raises(TooLargeError, match="max_memory"):
        next_shape(bare, ["out_of_memory"], {})


def test_a_person_may_ask_for_more_within_the_top():
    assert next_shape(LANE, (), {"memory": 9.0}) == Shape("quench", 2)
    assert next_shape(LANE, (), {"memory": 4.0}) == Shape("quench")
    assert next_shape(LANE, (), {"walltime": 4 * 3600.0}) == Shape("quench", 1, 4)
    assert LANE.shaped(Shape("quench", 1, 4)).walltime == "04:00:00"
    with pytest.raises(TooLargeError, match="40 GiB of memory is more than the 32"):
        next_shape(LANE, (), {"memory": 40.0})
