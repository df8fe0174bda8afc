"""What can go wrong, as types: the service said no, or it could not be asked."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import ValidationError

from saddle_client.models import Problem

if TYPE_CHECKING:
    import httpx

    from saddle_client.models import BulkReport

_SHOWN = 200


class SaddleError(Exception):
    """Whatever this client raises."""


class TransportError(SaddleError):
    """No answer came; the error of the HTTP library is its cause."""


class NotReachedError(TransportError):
    """The request was not sent: nobody listens there, or no connection could be made. Nothing was changed."""


class TimedOutError(TransportError, TimeoutError):
    """The answer did not come in time. A change may have been made or not."""


class LostError(TransportError):
    """The connection broke before the whole answer came. A change may have been made or not."""


class AnswerError(SaddleError):
    """The service answered something that this release of the client cannot read."""


class BulkError(SaddleError):
    """A bulk change ended early: ``report`` tells what was done before, and the cause what ended it."""

    def __init__(self, report: BulkReport) -> None:
        super().__init__(
            f"ended after {report.requests} requests: {report.stored} stored, {report.deleted} deleted, "
            f"{len(report.rejected)} rejected, the rest not known to be"
        )
        self.report = report


class ProblemError(SaddleError):
    """The service, or a gateway before it, answered with an error.

    ``problem`` is the answer's RFC 9457 document; a gateway's answer that is none gets the code ``http_error``.
    ``retry_after`` is what the answer asked to wait, in seconds, if it asked.
    """

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail} (request {problem.request_id})")
        self.problem = problem
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def code(self) -> str:
        """The stable name of the problem."""
        return self.problem.code


class InvalidInputError(ProblemError):
    """422: a part of the request cannot be used; ``problem.errors`` names each."""


class UnauthorizedError(ProblemError):
    """401: no API key was sent, or one that is not valid."""


class ForbiddenError(ProblemError):
    """403: the API key may not do this."""


class NotFoundError(ProblemError):
    """404: there is no such product, snapshot or route."""


class ConflictError(ProblemError):
    """409: not in the state that the service is in."""


class TooLargeError(ProblemError):
    """413: the body has more bytes than the route takes."""


class OverloadedError(ProblemError):
    """429: refused for now, by load or by the key's rate."""


class UnavailableError(ProblemError):
    """503: no snapshot is loaded yet, or the service is read-only; see ``code``."""


class DeadlineExceededError(ProblemError, TimeoutError):
    """504: the deadline passed before the answer was there, so the service, or a gateway, gave up."""


class ServerError(ProblemError):
    """500 and others above: a fault of the service or of a gateway."""


_TYPES: dict[int, type[ProblemError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidInputError,
    429: OverloadedError,
    503: UnavailableError,
    504: DeadlineExceededError,
}


def of_problem(problem: Problem, *, retry_after: float | None = None) -> ProblemError:
    """The error that a problem document tells of."""
    otherwise = ServerError if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ProblemError
    return _TYPES.get(problem.status, otherwise)(problem, retry_after=retry_after)


def problem_of(response: httpx.Response) -> Problem | None:
    """The problem document that a response holds, if it holds one."""
    media_type = response.headers.get("content-type", "").split(";")[0].strip()
    if media_type != "application/problem+json":
        return None
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def foreign_problem(response: httpx.Response) -> Problem:
    """A problem document for an error that the service did not write, such as a gateway's page."""
    return Problem(
        title=response.reason_phrase,
        status=response.status_code,
        detail=response.text[:_SHOWN] or "no text",
        code="http_error",
        request_id=response.headers.get("x-request-id", "unknown"),
    )
