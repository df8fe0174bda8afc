from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.limits import TokenBucket


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_passes_and_then_as_many_a_second_as_the_rate_says():
    clock = Clock()
    bucket = TokenBucket(rate=10, burst=3, clock=clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0]
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1001
    assert bucket.take() == 0
    assert bucket.take() > 0
    clock.now += 1000
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 1), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_pass_more_than_the_burst_and_the_rate_allow(rate, burst, pauses):
    clock = Clock()
    bucket = TokenBucket(rate=rate, burst=burst, clock=clock)
    passed = []
    for pause in pauses:
        clock.now += pause
        if bucket.take() == 0:
            passed.append(clock.now)
    for i, first in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= burst + rate * (passed[j] - first) + 1e-6


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 5))
def test_who_waits_as_long_as_told_gets_through(rate, burst):
    clock = Clock()
    bucket = TokenBucket(rate=rate, burst=burst, clock=clock)
    while (wait := bucket.take()) == 0:
        pass
    clock.now += wait + 1e-6
    assert bucket.take() == 0


def test_what_a_request_was_worth_besides_is_waited_for_by_the_next():
    clock = Clock()
    bucket = TokenBucket(rate=10, burst=5, clock=clock)
    assert bucket.take() == 0
    bucket.charge(63)
    assert bucket.take() == pytest.approx(6.0)
    clock.now += 6.001
    assert bucket.take() == 0
    assert bucket.take() > 0
