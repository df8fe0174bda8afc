from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry

from service.batching import Batcher
from service.deadline import DEADLINE, DeadlineExceededError
from service.metrics import Metrics


class Bench:
    """A batcher that doubles numbers while the gate is open, and remembers in which batches it got them."""

    def __init__(self, *, rooms=1, most=4):
        self.registry = CollectorRegistry()
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self.pool = ThreadPoolExecutor(rooms)
        self.batcher = Batcher(self.doubled, run=self.run, rooms=rooms, metrics=Metrics(self.registry), most=most)

    def run(self, work):
        return asyncio.get_running_loop().run_in_executor(self.pool, work)

    def doubled(self, numbers):
        self.batches.append(list(numbers))
        self.begun.release()
        assert self.gate.wait(10)
        if "crash" in numbers:
            raise RuntimeError("crashed")
        return [ValueError(f"{number} is odd") if number % 2 else 2 * number for number in numbers]

    def ask(self, number, *, deadline=None):
        """A task that asks, in a context of its own."""

        async def asking():
            DEADLINE.set(deadline)
            return (await self.batcher.answer(number))[0]

        return asyncio.create_task(asking())

    async def busy(self, *, rooms=1):
        """Take all rooms, for as long as the gate is closed."""
        self.gate.clear()
        tasks = []
        for i in range(rooms):
            tasks.append(self.ask(1000 + 2 * i))
            await asyncio.to_thread(self.begun.acquire)
        return tasks

    def metric(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


def bench(test):
    """Run a test that is a coroutine with a bench."""

    def run():
        async def with_bench():
            await asyncio.wait_for(test(Bench()), timeout=20)

        asyncio.run(with_bench())

    run.__name__ = test.__name__
    return run


async def settled():
    """Let everything that can happen happen."""
    for _ in range(10):
        await asyncio.sleep(0)


@bench
async def test_a_question_that_comes_alone_is_answered_alone_and_at_once(bench):
    assert await bench.ask(2) == 4
    assert await bench.ask(4) == 8
    assert bench.batches == [[2], [4]]


@bench
async def test_questions_that_come_at_once_are_answered_together(bench):
    assert await asyncio.gather(*(bench.ask(number) for number in (2, 4, 6))) == [4, 8, 12]
    assert bench.batches == [[2, 4, 6]]


@bench
async def test_what_comes_while_others_are_answered_is_the_next_batch(bench):
    busy = await bench.busy()
    tasks = []
    for number in (2, 4, 6):
        tasks.append(bench.ask(number))
        await settled()
    assert bench.batcher.depth == 3
    assert bench.metric("saddle_queue_depth") == 3
    bench.gate.set()
    assert await asyncio.gather(*busy, *tasks) == [2000, 4, 8, 12]
    assert bench.batches == [[1000], [2, 4, 6]]
    assert bench.batcher.depth == bench.metric("saddle_queue_depth") == 0
    assert bench.metric("saddle_batch_queries_sum") == 4
    assert bench.metric("saddle_batch_queries_count") == 2


@bench
async def test_answers_are_given_out_one_in_a_turn_of_the_loop_so_that_others_have_theirs(bench):
    turn, given = 0, []

    async def turns():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    first = await bench.busy()
    waiting = [bench.ask(number) for number in (0, 2, 4, 6)]
    for task in waiting:
        task.add_done_callback(lambda _: given.append(turn))
    counting = asyncio.create_task(turns())
    await asyncio.sleep(0)
    bench.gate.set()
    assert await asyncio.gather(*first, *waiting) == [2000, 0, 4, 8, 12]
    counting.cancel()
    assert len(set(given)) == len(waiting)


@bench
async def test_a_batch_has_its_most_and_the_first_to_come_are_the_first_in_it(bench):
    busy = await bench.busy()
    tasks = [bench.ask(2 * i) for i in range(10)]
    await settled()
    bench.gate.set()
    assert await asyncio.gather(*tasks) == [4 * i for i in range(10)]
    assert bench.batches[1:] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
    await asyncio.gather(*busy)


def test_rooms_share_what_waits():
    async def run():
        bench = Bench(rooms=2, most=32)
        assert await asyncio.gather(*(bench.ask(2 * i) for i in range(7))) == [4 * i for i in range(7)]
        assert sorted(map(len, bench.batches)) == [3, 4]
        busy = await bench.busy(rooms=2)
        late = bench.ask(2)
        await settled()
        assert bench.batcher.depth == 1
        bench.gate.set()
        await asyncio.gather(*busy, late)

    asyncio.run(run())


@bench
async def test_an_ill_question_has_an_error_of_its_own(bench):
    answers = await asyncio.gather(*(bench.ask(number) for number in (2, 3, 4)), return_exceptions=True)
    assert answers[::2] == [4, 8]
    assert str(answers[1]) == "3 is odd"


@bench
async def test_a_question_that_breaks_a_batch_is_answered_alone_and_so_are_the_others(bench):
    answers = await asyncio.gather(*(bench.ask(number) for number in (2, "crash", 4)), return_exceptions=True)
    assert answers[::2] == [4, 8]
    assert str(answers[1]) == "crashed"
    assert bench.batches == [[2, "crash", 4], [2], ["crash"], [4]]
    assert await bench.ask(6) == 12


@bench
async def test_a_question_that_was_given_up_is_not_computed(bench):
    busy = await bench.busy()
    kept, given_up = bench.ask(2), bench.ask(4)
    await settled()
    given_up.cancel()
    await settled()
    bench.gate.set()
    assert await kept == 4
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert bench.batches == [[1000], [2]]
    await asyncio.gather(*busy)


@bench
async def test_what_is_given_up_while_it_is_computed_hinders_nobody(bench):
    (busy,) = await bench.busy()
    busy.cancel()
    await settled()
    bench.gate.set()
    assert await bench.ask(2) == 4


@bench
async def test_a_question_past_its_deadline_is_refused_and_not_computed(bench):
    busy = await bench.busy()
    late = bench.ask(2, deadline=time.monotonic() - 0.001)
    early = bench.ask(4, deadline=time.monotonic() + 60)
    await settled()
    bench.gate.set()
    with pytest.raises(DeadlineExceededError):
        await late
    assert await early == 8
    assert bench.batches == [[1000], [4]]
    await asyncio.gather(*busy)


@bench
async def test_a_queue_of_nothing_but_what_was_given_up_is_emptied(bench):
    busy = await bench.busy()
    tasks = [bench.ask(2 * i) for i in range(6)]
    await settled()
    for task in tasks:
        task.cancel()
    bench.gate.set()
    await asyncio.gather(*busy)
    await settled()
    assert bench.batches == [[1000]]
    assert bench.batcher.depth == 0


@bench
async def test_how_long_a_question_waited_is_told(bench):
    busy = await bench.busy()
    task = asyncio.create_task(bench.batcher.answer(2))
    await asyncio.sleep(0.05)
    bench.gate.set()
    answer, waited = await task
    assert answer == 4
    assert 0.04 < waited < 10
    await asyncio.gather(*busy)
