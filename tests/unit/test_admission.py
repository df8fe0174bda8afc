from __future__ import annotations

import asyncio
import heapq
import random

import pytest
from prometheus_client import CollectorRegistry

from service.admission import MAX_OTHERS, AdaptiveLimit, AdmissionMiddleware
from service.metrics import Metrics
from service.scopes import Route

TARGET = 0.1
SEARCH = Route("/v1/search", frozenset({"search"}), is_search=True, is_probe=False)
WRITE = Route("/v1/products", frozenset({"write"}), is_search=False, is_probe=False)
PROBE = Route("/readyz", frozenset(), is_search=False, is_probe=True)


def simulate(limit, *, rate, seconds, cost, batch=1, at=0.0, chance=None):
    """One server that takes up to ``batch`` waiting requests at once, each batch ``cost(n)`` seconds.

    Requests come ``rate`` a second at random. Returns (when each accepted one came, how long it took), and the refused.
    """
    chance = chance or random.Random(0)
    arrivals, t = [], at
    while (t := t + chance.expovariate(rate)) < at + seconds:
        arrivals.append(t)
    waiting, accepted, refused, done, free = [], [], 0, [], at

    def run_until(now):
        nonlocal free
        while True:
            if done and (not waiting or done[0][0] <= max(free, waiting[0])) and done[0][0] <= now:
                _, took = heapq.heappop(done)
                limit.leave(took)
            elif waiting and max(free, waiting[0]) <= now:
                begun = max(free, waiting[0])
                taken = [came for came in waiting if came <= begun][:batch]
                del waiting[: len(taken)]
                free = begun + cost(len(taken))
                for came in taken:
                    accepted.append((came, free - came))
                    heapq.heappush(done, (free, free - came))
            else:
                return

    for now in arrivals:
        run_until(now)
        if limit.enter():
            waiting.append(now)
        else:
            refused += 1
    run_until(float("inf"))
    return accepted, refused


def quantile(values, share):
    return sorted(values)[int(share * (len(values) - 1))]


@pytest.mark.parametrize(
    ("cost", "batch", "capacity"),
    [
        (lambda n: 0.005, 1, 200),  # one by one
        (lambda n: 0.004 + 0.0005 * n, 64, 1400),  # batches pay
        (lambda n: 0.0004, 1, 2500),  # fast
        (lambda n: 0.02, 4, 200),  # slow, and only together
    ],
)
def test_at_three_times_capacity_half_are_answered_within_the_target_and_the_server_stays_busy(cost, batch, capacity):
    limit = AdaptiveLimit(target=TARGET)
    accepted, refused = simulate(limit, rate=3 * capacity, seconds=60, cost=cost, batch=batch)
    times = [took for _, took in accepted]
    assert refused > 60 * capacity
    assert quantile(times, 0.5) == pytest.approx(TARGET, rel=0.3)
    assert quantile(times, 0.99) < 2 * TARGET
    assert len(accepted) > 0.8 * 60 * capacity
    assert limit.inside == 0


def test_below_capacity_next_to_nothing_is_refused():
    limit = AdaptiveLimit(target=TARGET)
    accepted, refused = simulate(limit, rate=160, seconds=60, cost=lambda n: 0.005)
    assert refused < 0.01 * len(accepted)


def test_after_overload_places_are_back_within_a_second():
    limit, chance = AdaptiveLimit(target=TARGET), random.Random(1)
    simulate(
        limit, rate=600, seconds=20, cost=lambda n: 0.05, chance=chance
    )  # the machine was busy with something else
    assert limit.places == 8
    simulate(limit, rate=600, seconds=1, cost=lambda n: 0.001, chance=chance, at=20)
    accepted, refused = simulate(limit, rate=600, seconds=10, cost=lambda n: 0.001, chance=chance, at=21)
    assert refused < 0.01 * len(accepted)


def test_on_a_slow_machine_the_target_gives_way_and_not_the_service():
    limit = AdaptiveLimit(target=TARGET, least=4)
    accepted, _ = simulate(limit, rate=30, seconds=60, cost=lambda n: 0.1)
    assert limit.places == 4
    assert len(accepted) > 550


def test_answers_that_did_not_wait_do_not_hide_those_that_did():
    """Nine of ten are remembered and answered at once; the others wait, and must not wait for ever."""
    limit = AdaptiveLimit(target=TARGET)
    for _ in range(3000):
        assert limit.enter()
        while limit.enter():
            pass
        held = limit.inside
        for i in range(held):
            limit.leave(0.0005 if i % 10 else held * 0.005)
    assert limit.places * 0.005 < 2 * TARGET


def test_while_there_are_places_to_spare_slow_answers_take_none_away():
    limit = AdaptiveLimit(target=TARGET)
    for _ in range(1000):
        assert limit.enter()
        limit.leave(1.0)
    assert limit.places == 32


# The door


def call(door, route):
    """Start a request; return its task and what was sent."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "state": {"route": route, "request_id": "r"}}

    async def receive():
        raise AssertionError("the body was read")

    return asyncio.create_task(door(scope, receive, send)), sent


@pytest.fixture
def registry():
    return CollectorRegistry()


def door_before(app, registry):
    return AdmissionMiddleware(app, target_seconds=TARGET, metrics=Metrics(registry))


@pytest.mark.parametrize(("route", "places"), [(SEARCH, 32), (WRITE, MAX_OTHERS)])
def test_beyond_the_places_a_429_comes_at_once_and_probes_still_pass(registry, route, places):
    async def story():
        gate = asyncio.Event()

        async def app(scope, receive, send):
            if not scope["state"]["route"].is_probe:
                await gate.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        door = door_before(app, registry)
        inside = [call(door, route) for _ in range(places)]
        await asyncio.sleep(0)
        beyond, sent = call(door, route)
        await beyond
        assert sent[0]["status"] == 429
        assert dict(sent[0]["headers"])[b"retry-after"] == b"1"
        assert b'"code":"overloaded"' in sent[1]["body"]
        probe, probed = call(door, PROBE)
        await probe
        assert probed[0]["status"] == 200
        gate.set()
        await asyncio.gather(*(task for task, _ in inside))
        assert {answers[0]["status"] for _, answers in inside} == {200}
        again, answered = call(door, route)
        await again
        assert answered[0]["status"] == 200

    asyncio.run(story())
    assert registry.get_sample_value("saddle_requests_refused_total", {"reason": "overloaded"}) == 1


def test_a_place_is_given_back_by_a_request_that_fails_or_is_cancelled(registry):
    async def story():
        async def app(scope, receive, send):
            if scope["state"]["request_id"] == "r":
                await asyncio.sleep(60)

        door = door_before(app, registry)
        for _ in range(30):
            task, _ = call(door, SEARCH)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    assert registry.get_sample_value("saddle_requests_refused_total", {"reason": "overloaded"}) is None
