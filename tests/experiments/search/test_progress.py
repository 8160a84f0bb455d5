"""The time that is left: by the mean of the trainings that ended, over those that run at once."""

from __future__ import annotations

from convnas.experiments.search.progress import Pace


def test_nothing_is_known_before_a_training_has_ended() -> None:
    assert Pace().left(5, [1.0]) is None


def test_what_is_left_is_the_mean_for_each_less_what_the_running_ones_have_had() -> None:
    pace = Pace()
    pace.add(10.0)
    pace.add(20.0)
    # Six of 15 s wait, one has 12 s to go and one should be over: 102 s of work for two workers.
    assert pace.left(6, [3.0, 20.0]) == 51.0
    # As many still work when for a moment fewer are running.
    assert pace.left(6, [3.0]) == 51.0


def test_equal_trainings_at_once_give_the_same_end_from_the_first_one_on() -> None:
    # Four workers, twelve trainings of 10 s: all over after 30 s.
    first, pace = [], Pace()
    pace.left(8, [0.0] * 4)
    for running in (3, 2, 1, 0):
        pace.add(10.0)
        first.append(10.0 + (pace.left(8, [10.0] * running) or 0.0))
    assert first == [30.0] * 4
