"""The sketch: quantiles within a hundredth, whatever is counted, in little memory; two can be added."""

from random import Random

import pytest

from batchway.simulate.sketch import LEAST, Sketch


@pytest.mark.parametrize("kind", ["even", "tailed", "few"])
def test_quantiles_are_within_a_hundredth(kind: str) -> None:
    dice = Random(1)
    values = {
        "even": [dice.uniform(0.001, 10) for _ in range(20_000)],
        "tailed": [dice.lognormvariate(0, 3) for _ in range(20_000)],
        "few": [0.5, 1.0, 2.0],
    }[kind]
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    ordered = sorted(values)
    for share in (0.01, 0.5, 0.9, 0.95, 0.99, 1.0):
        exact = ordered[max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1)]
        assert sketch.quantile(share) == pytest.approx(exact, rel=0.011)
    assert sketch.mean == pytest.approx(sum(values) / len(values))
    assert sketch.most == max(values)


def test_nothing_counted_is_zero_and_what_takes_no_time_is_nothing() -> None:
    assert (Sketch().quantile(0.95), Sketch().mean) == (0.0, 0.0)
    sketch = Sketch()
    for _ in range(10):
        sketch.add(0.0)
    sketch.add(LEAST / 2)
    assert sketch.quantile(0.5) == 0.0


def test_a_sketch_does_not_grow_with_what_is_counted() -> None:
    sketch = Sketch()
    for number in range(100_000):
        sketch.add(LEAST + (number % 1000) * 100)
    assert len(list(sketch.counts())) <= 1000
    assert sum(count for _, count in sketch.counts()) == 100_000


def test_two_are_added() -> None:
    one, other, both = Sketch(), Sketch(), Sketch()
    for number in range(1, 1000):
        (one if number % 3 else other).add(number / 10)
        both.add(number / 10)
    one.merge(other)
    assert list(one.counts()) == list(both.counts())
    assert one.count == both.count and one.most == both.most and one.mean == pytest.approx(both.mean)
