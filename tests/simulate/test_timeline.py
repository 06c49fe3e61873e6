"""The timeline: everything in its stretch, and never more stretches than fit."""

from batchway.simulate.timeline import MOST, Timeline


def test_each_moment_has_its_stretch() -> None:
    timeline = Timeline()
    for moment in (100.0, 100.9, 101.0, 104.2):
        timeline.at(moment).calls += 1
    assert timeline.begins == 100.0
    assert [stretch.calls for stretch in timeline.stretches] == [2, 1, 0, 0, 1]


def test_a_long_run_has_longer_stretches_and_loses_nothing() -> None:
    timeline = Timeline()
    for moment in range(10 * MOST):
        stretch = timeline.at(float(moment))
        stretch.calls += 1
        stretch.paid += moment
        stretch.answered["direct"] = stretch.answered.get("direct", 0) + 1
    assert timeline.seconds == 16.0
    assert len(timeline.stretches) <= MOST
    assert sum(stretch.calls for stretch in timeline.stretches) == 10 * MOST
    assert sum(stretch.paid for stretch in timeline.stretches) == sum(range(10 * MOST))
    assert {stretch.answered["direct"] for stretch in timeline.stretches} == {16}


def test_what_came_before_the_first_moment_counts_for_the_first_stretch() -> None:
    timeline = Timeline()
    timeline.at(50.0).refused += 1
    timeline.at(40.0).refused += 1
    assert [stretch.refused for stretch in timeline.stretches] == [2]
