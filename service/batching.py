"""Questions that come at the same time, answered together.

Nobody waits for company: whenever there is room to compute, all that waits by then is taken, so a question that comes
alone is answered alone, at once. While answers are computed others come and wait, and those are the next batch. So
batches grow with the load, and with them what each question costs shrinks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from service.deadline import DEADLINE, DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.metrics import Metrics

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")

MOST = 32
"""Questions in a batch, at most: with more, each would wait longer and cost hardly less."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[_Question, _Answer]):
    question: _Question
    answer: asyncio.Future[tuple[_Answer, float]]
    deadline: float | None
    since: float


class Batcher(Generic[_Question, _Answer]):
    """Answers questions in batches, first come, first served; to be used from one event loop.

    Args:
        compute: answers several questions in their order, on another thread; an exception in an answer's place is that
            question's. If it raises one, each question is put to it alone.
        run: has a thread do something.
        rooms: how many batches are computed at once.
        metrics: where batches and the number of those who wait are recorded.
        most: how many questions are taken together.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[_Question]], Sequence[_Answer | Exception]],
        *,
        run: Callable[[Callable[[], Sequence[_Answer | Exception]]], asyncio.Future[Sequence[_Answer | Exception]]],
        rooms: int,
        metrics: Metrics,
        most: int = MOST,
    ) -> None:
        self._compute = compute
        self._run = run
        self._free = rooms
        self._metrics = metrics
        self._most = most
        self._waiting: deque[_Waiting[_Question, _Answer]] = deque()
        self._called = False

    @property
    def depth(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def answer(self, question: _Question) -> tuple[_Answer, float]:
        """The answer to ``question``, and how many seconds it waited before it was begun.

        Raises:
            DeadlineExceededError: it was not begun before the request's deadline.
            Exception: what ``compute`` has for this question.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(question, loop.create_future(), DEADLINE.get(), time.monotonic())
        self._waiting.append(waiting)
        self._metrics.queue(len(self._waiting))
        if self._free and not self._called:
            self._called = True
            loop.call_soon(self._begin)  # after all that can be read by now
        return await waiting.answer

    def _begin(self) -> None:
        self._called = False
        while self._free and (batch := self._taken()):
            self._free -= 1
            self._metrics.batch(len(batch))
            computed = self._run(partial(self._answers, [one.question for one in batch]))
            computed.add_done_callback(partial(self._end, batch, time.monotonic()))

    def _taken(self) -> list[_Waiting[_Question, _Answer]]:
        """The next to be answered, an even share for each room; what nobody waits for any more is passed over."""
        share = min(self._most, -(-len(self._waiting) // self._free))
        batch: list[_Waiting[_Question, _Answer]] = []
        now = time.monotonic()
        while self._waiting and len(batch) < share:
            one = self._waiting.popleft()
            if one.answer.done():
                continue
            if one.deadline is not None and now > one.deadline:
                one.answer.set_exception(DeadlineExceededError())
                continue
            batch.append(one)
        self._metrics.queue(len(self._waiting))
        return batch

    def _answers(self, questions: Sequence[_Question]) -> Sequence[_Answer | Exception]:
        try:
            return self._compute(questions)
        except Exception as error:  # noqa: BLE001 - it is given to who asked
            if len(questions) == 1:
                return [error]
        # one of them is too much for it, and the others shall not suffer
        return [self._answers([question])[0] for question in questions]

    def _end(
        self,
        batch: Sequence[_Waiting[_Question, _Answer]],
        began: float,
        done: asyncio.Future[Sequence[_Answer | Exception]],
    ) -> None:
        self._free += 1
        self._begin()
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        answers = done.result() if error is None else [error] * len(batch)
        self._deliver(deque(zip(batch, answers, strict=True)), began)

    def _deliver(
        self, answered: deque[tuple[_Waiting[_Question, _Answer], _Answer | BaseException]], began: float
    ) -> None:
        """Give out one answer in each turn of the loop: writing many in one would keep all others waiting meanwhile."""
        while answered:
            one, answer = answered.popleft()
            if one.answer.done():
                continue
            if isinstance(answer, BaseException):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result((answer, began - one.since))
            asyncio.get_running_loop().call_soon(self._deliver, answered, began)
            return
