"""One call's attempts: what is sent each time, and whether an answer is the last word. No connection, no clock."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Generic, NoReturn

import httpx
from pydantic import ValidationError

from saddle_client.calls import Answer, Call
from saddle_client.errors import (
    AnswerError,
    LostError,
    NotReachedError,
    SaddleError,
    TimedOutError,
    TransportError,
    foreign_problem,
    of_problem,
    problem_of,
)
from saddle_client.retry import NEVER, Retry, retry_after_of

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = "X-Request-Timeout-Ms"
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all calls of a client."""

    timeout: float
    deadline: float | None
    retry: Retry
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)


def headers(api_key: str | None) -> dict[str, str]:
    """What every request says of its sender.

    Raises:
        ValueError: the key is none that could be sent.
    """
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("the API key has characters that no header can hold")
    try:
        release = version("saddle-client")
    except PackageNotFoundError:  # used from its sources
        release = "0"
    named = {"User-Agent": f"saddle-client/{release}", "Accept": "application/json"}
    return named if api_key is None else {**named, "Authorization": f"Bearer {api_key}"}


class Exchange(Generic[Answer]):
    """What happens to ``call``, attempt by attempt, for ``deadline`` seconds from now.

    Repeated is what was surely not done: not sent, or refused with 429 or 503. What may have been done is repeated
    if the call is repeatable; not after a timeout, though, as whoever is slow is not helped by being asked again.
    """

    def __init__(self, call: Call[Answer], terms: Terms, deadline: float | None = None) -> None:
        self._call = call
        self._terms = terms
        self._retry = terms.retry if call.patient else NEVER
        seconds = terms.deadline if deadline is None else deadline
        self._until = None if seconds is None else terms.clock() + seconds
        self._attempt = 0

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The next attempt's request."""
        self._attempt += 1
        told, timeout = {}, self._terms.timeout
        if self._call.media_type is not None:
            told["Content-Type"] = self._call.media_type
        if self._until is not None:
            left = max(self._until - self._terms.clock(), 0.001)
            told[DEADLINE] = str(max(1, round(left * 1e3)))
            timeout = min(timeout, left)
        call = self._call
        return http.build_request(call.method, call.path, content=call.content, headers=told, timeout=timeout)

    def pause_after_loss(self, error: httpx.TransportError) -> float:
        """Seconds to wait before the next attempt, as no answer came to the last.

        Raises:
            TransportError: it is not repeated.
        """
        unsent = isinstance(error, _UNSENT)
        timed_out = isinstance(error, httpx.TimeoutException)
        pause = self._pause(None) if unsent or (self._call.repeatable and not timed_out) else None
        if pause is None:
            kind = NotReachedError if unsent else TimedOutError if timed_out else LostError
            raise self._lost(kind, error) from error
        return pause

    def pause_after(self, response: httpx.Response) -> float | None:
        """Seconds to wait before the next attempt; None if ``response`` is the last word."""
        retry_after = retry_after_of(response.headers.get("retry-after"))
        return self._pause(retry_after) if self._is_refusal(response, retry_after) else None

    def answer(self, response: httpx.Response) -> Answer:
        """What ``response`` says.

        Raises:
            ProblemError: an error.
            AnswerError: nothing that can be read.
        """
        if not response.is_success:
            self._fail(response)
        try:
            return self._call.answer.model_validate_json(response.content)
        except ValidationError as error:
            raise AnswerError(
                f"{self._call.method} {self._call.path} was answered {response.status_code} with what is no "
                f"{self._call.answer.__name__}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
            ) from error

    def _is_refusal(self, response: httpx.Response, retry_after: float | None) -> bool:
        match response.status_code:
            case 429:
                return True
            case 503:
                # the service's own without a Retry-After says that waiting does not help
                return retry_after is not None or (self._call.repeatable and problem_of(response) is None)
            case 502:
                return self._call.repeatable
        return False

    def _pause(self, retry_after: float | None) -> float | None:
        pause = self._retry.pause(self._attempt, retry_after, rng=self._terms.rng)
        if pause is None or (self._until is not None and self._terms.clock() + pause >= self._until):
            return None
        return pause

    def _lost(self, kind: type[TransportError], error: Exception) -> SaddleError:
        reason = str(error) or type(error).__name__
        return kind(f"{self._call.method} {self._call.path}: {reason} (attempt {self._attempt})")

    def _fail(self, response: httpx.Response) -> NoReturn:
        problem = problem_of(response) or foreign_problem(response)
        raise of_problem(problem, retry_after=retry_after_of(response.headers.get("retry-after")))
