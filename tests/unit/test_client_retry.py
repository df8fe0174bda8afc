from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saddle_client import (
    AsyncClient,
    BulkError,
    Client,
    DeadlineExceededError,
    LostError,
    NotFoundError,
    NotReachedError,
    OverloadedError,
    ProblemError,
    Retry,
    SaddleError,
    ServerError,
    TimedOutError,
    UnavailableError,
    calls,
)
from saddle_client.exchange import DEADLINE, Exchange, Terms
from saddle_client.retry import retry_after_of

HIT = {
    "product_id": "p1",
    "score": -0.1,
    "distance": 0.1,
    "contained": True,
    "thumbnail": None,
    "product": {"product_id": "p1"},
}
ANSWER = {
    "hits": [HIT],
    "total": {"value": 1, "relation": "eq"},
    "facets": {},
    "mode": "hybrid",
    "generality": None,
    "took_ms": 1.0,
    "snapshot": "s1",
    "model": "m",
    "request_id": "r",
}
CHANGED = {"product_id": "p1", "sequence": 7, "took_ms": 1.0, "request_id": "r"}
DONE = {"stored": 1, "deleted": 0, "rejected": [], "sequence": 7, "took_ms": 1.0, "request_id": "r"}
AT_ONCE = Retry(attempts=3, first_pause=0.0)


def problem(status, *, code="x", retry_after=None):
    body = {"type": "about:blank", "title": "T", "status": status, "detail": "d", "code": code, "request_id": "r"}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, json=body, headers=headers | ({"Retry-After": retry_after} if retry_after else {}))


def ok():
    return httpx.Response(200, json=ANSWER)


class Script:
    """A service that answers what it is told to, one after the other, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options):
        options.setdefault("retry", AT_ONCE)
        return Client("http://saddle", transport=httpx.MockTransport(self), **options)


SEARCH = calls.search("drill")
DELETE = calls.delete_product("p1")
PUT = calls.put_product("p1", {"title": "drill"})
ROLLBACK = calls.roll_back_snapshot()


def exchange(call=SEARCH, *, retry=None, deadline=None, clock=lambda: 0.0):
    terms = Terms(timeout=10.0, deadline=deadline, retry=retry or Retry(), clock=clock, rng=random.Random(0))
    found = Exchange(call, terms)
    with httpx.Client(base_url="http://saddle") as http:
        found.request(http)
    return found


# Pauses


@given(attempt=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_pause_is_random_below_a_bound_that_doubles(attempt, seed):
    retry = Retry(attempts=100, first_pause=0.1, longest_pause=5.0)
    pause = retry.pause(attempt, None, rng=random.Random(seed))
    assert 0.0 <= pause <= min(5.0, 0.1 * 2 ** (attempt - 1))


@given(asked=st.floats(0, 30), seed=st.integers(0, 1000))
def test_what_the_service_asks_for_is_waited_for_and_a_little_more(asked, seed):
    pause = Retry().pause(1, asked, rng=random.Random(seed))
    assert asked <= pause <= asked + 0.1


def test_clients_that_were_refused_together_do_not_come_back_together():
    pauses = {Retry().pause(1, 2.0, rng=random.Random(seed)) for seed in range(20)}
    assert len(pauses) == 20


def test_the_last_attempt_and_too_long_a_wait_are_not_waited_for():
    assert Retry(attempts=2).pause(2, None, rng=random.Random(0)) is None
    assert Retry(longest_wait=30).pause(1, 31.0, rng=random.Random(0)) is None


def test_a_request_is_sent_at_least_once():
    with pytest.raises(ValueError, match="attempts is 0"):
        Retry(attempts=0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("2", 2.0),
        (" 0 ", 0.0),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, seconds):
    assert retry_after_of(header, now=datetime(2026, 11, 21, 12, tzinfo=UTC)) == seconds


# What is repeated: the table of what may have been done


@pytest.mark.parametrize("call", [SEARCH, PUT, DELETE, ROLLBACK], ids=lambda call: f"{call.method} {call.path}")
def test_what_was_refused_or_never_sent_is_always_repeated(call):
    assert exchange(call).pause_after(problem(429)) is not None
    assert exchange(call).pause_after(problem(503, code="not_ready", retry_after="2")) >= 2.0
    for error in (httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")):
        assert exchange(call).pause_after_loss(error) >= 0.0


@pytest.mark.parametrize("call", [SEARCH, PUT], ids=lambda call: call.method)
def test_what_may_have_been_done_is_repeated_if_twice_is_once(call):
    assert exchange(call).pause_after_loss(httpx.ReadError("cut")) >= 0.0
    assert exchange(call).pause_after(httpx.Response(502)) is not None
    assert exchange(call).pause_after(httpx.Response(503, text="<html>")) is not None


@pytest.mark.parametrize("call", [DELETE, ROLLBACK], ids=lambda call: call.method)
def test_what_may_have_been_done_is_not_repeated_if_twice_is_something_else(call):
    with pytest.raises(LostError):
        exchange(call).pause_after_loss(httpx.RemoteProtocolError("cut"))
    assert exchange(call).pause_after(httpx.Response(502)) is None
    assert exchange(call).pause_after(httpx.Response(503, text="<html>")) is None


def test_nothing_is_repeated_after_a_timeout():
    with pytest.raises(TimedOutError, match="POST /v1/search"):
        exchange().pause_after_loss(httpx.ReadTimeout(""))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 413, 422, 500, 504])
def test_an_answer_that_another_attempt_would_not_change_is_the_last_word(status):
    assert exchange().pause_after(problem(status)) is None


def test_a_service_that_takes_no_changes_is_not_asked_again():
    assert exchange(PUT).pause_after(problem(503, code="read_only")) is None


def test_health_is_asked_once():
    assert exchange(calls.ready()).pause_after(problem(503, retry_after="2")) is None
    with pytest.raises(NotReachedError):
        exchange(calls.live()).pause_after_loss(httpx.ConnectError("no"))


# Deadlines


def test_each_attempt_says_what_is_left_of_the_deadline():
    now = 0.0
    found = Exchange(SEARCH, Terms(timeout=10, deadline=2.0, retry=Retry(), clock=lambda: now))
    with httpx.Client(base_url="http://saddle") as http:
        first = found.request(http)
        now = 1.5
        second = found.request(http)
    assert (first.headers[DEADLINE], second.headers[DEADLINE]) == ("2000", "500")
    assert second.extensions["timeout"]["read"] == 0.5


def test_a_pause_that_would_outlast_the_deadline_is_not_waited_for():
    refused = problem(429, retry_after="3")
    assert exchange(deadline=2.0).pause_after(refused) is None
    assert exchange(deadline=5.0).pause_after(refused) >= 3.0


def test_a_deadline_of_the_call_goes_before_that_of_the_client():
    script = Script(ok(), ok())
    with script.client(deadline=5.0) as client:
        client.search("drill")
        client.search("drill", deadline=0.5)
    assert int(script.asked[0].headers[DEADLINE]) > 4_000
    assert int(script.asked[1].headers[DEADLINE]) <= 500


def test_without_a_deadline_none_is_sent():
    script = Script(ok())
    with script.client() as client:
        client.search("drill")
    assert DEADLINE not in script.asked[0].headers


# Whole calls


def test_a_search_that_was_refused_twice_is_answered_at_the_third_attempt():
    script = Script(problem(429, code="overloaded"), problem(503, code="not_ready", retry_after="0"), ok())
    with script.client() as client:
        assert client.search("drill", limit=3).hits[0].product_id == "p1"
    assert [request.content for request in script.asked] == [b'{"query":"drill","limit":3}'] * 3


def test_after_the_last_attempt_the_last_problem_is_raised():
    with (
        Script(*[problem(429, code="overloaded", retry_after="0")] * 3).client() as client,
        pytest.raises(OverloadedError) as raised,
    ):
        client.search("drill")
    assert (raised.value.code, raised.value.retry_after) == ("overloaded", 0.0)


def test_async_calls_are_repeated_alike():
    script = Script(httpx.ConnectError("no"), problem(429), ok())

    async def found():
        async with AsyncClient("http://saddle", retry=AT_ONCE, transport=httpx.MockTransport(script)) as client:
            return await client.search("drill")

    assert asyncio.run(found()).snapshot == "s1"
    assert len(script.asked) == 3


def test_the_key_is_sent_and_shown_nowhere():
    script = Script(problem(500))
    with script.client(api_key="secret-key") as client:
        with pytest.raises(ServerError) as raised:
            client.search("drill")
        assert "secret-key" not in repr(client) + repr(vars(client)) + str(raised.value)
    assert script.asked[0].headers["authorization"] == "Bearer secret-key"


def test_a_key_that_no_header_can_hold_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="no header can hold") as raised:
        Client("http://saddle", api_key="schlüssel")
    assert "schlüssel" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (429, OverloadedError), (503, UnavailableError), (504, DeadlineExceededError),
     (418, ProblemError), (500, ServerError), (599, ServerError)],
)  # fmt: skip
def test_a_problem_is_an_error_of_its_own_type(status, kind):
    with (
        Script(problem(status)).client(retry=Retry(attempts=1)) as client,
        pytest.raises(kind, match=f"{status} x: d") as raised,
    ):
        client.search("drill")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.problem.request_id) == (status, "r")


def test_whatever_came_too_late_is_a_timeout():
    for answer in (problem(504), httpx.ReadTimeout("")):
        with Script(answer).client() as client, pytest.raises(TimeoutError) as raised:
            client.search("drill")
        assert isinstance(raised.value, SaddleError)


def test_an_error_that_a_gateway_wrote_is_a_problem_too():
    with (
        Script(httpx.Response(404, text="<html>nothing here")).client() as client,
        pytest.raises(NotFoundError, match="http_error: <html>nothing here"),
    ):
        client.search("drill")


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"hits": 7})])
def test_an_answer_that_cannot_be_read_says_what_was_asked(answer):
    with Script(answer).client() as client, pytest.raises(SaddleError, match=r"POST /v1/search was answered 200"):
        client.search("drill")


def test_a_field_that_a_newer_service_adds_is_left_out():
    with Script(httpx.Response(200, json={**ANSWER, "new": 1})).client() as client:
        assert not hasattr(client.search("drill"), "new")


def test_a_redirect_is_not_followed_as_the_key_would_go_along():
    moved = httpx.Response(307, headers={"Location": "http://elsewhere/"})
    script = Script(moved)
    with script.client(api_key="k") as client, pytest.raises(ProblemError, match="307"):
        client.search("drill")
    assert len(script.asked) == 1


# Bulk


def test_a_bulk_change_is_drawn_as_it_is_sent(monkeypatch):
    monkeypatch.setattr("saddle_client.lines.CHUNK_LINES", 2)
    drawn = []

    def changes():
        for number in range(5):
            drawn.append(number)
            yield {"product_id": f"p{number}", "title": "drill"}

    held = []

    def answer(request):
        held.append((len(drawn), request.content.count(b"\n")))
        return httpx.Response(200, json={**DONE, "stored": request.content.count(b"\n")})

    with Client("http://saddle", transport=httpx.MockTransport(answer)) as client:
        report = client.bulk(changes())
    assert held == [(3, 2), (5, 2), (5, 1)]  # the one that did not fit was drawn to find out
    assert (report.stored, report.requests, report.sent, report.sequence) == (5, 3, 5, 7)


def test_a_bulk_request_stays_below_its_size(monkeypatch):
    monkeypatch.setattr("saddle_client.lines.CHUNK_BYTES", 100)
    script = Script(*[httpx.Response(200, json=DONE) for _ in range(9)])
    with script.client() as client:
        client.bulk({"product_id": f"p{number}", "title": "x" * 20} for number in range(6))
    assert all(len(request.content) <= 100 for request in script.asked)
    assert b"".join(request.content for request in script.asked).count(b"\n") == 6


def test_rejected_lines_are_counted_over_all_requests(monkeypatch):
    monkeypatch.setattr("saddle_client.lines.CHUNK_LINES", 2)
    bad = {**DONE, "rejected": [{"line": 2, "product_id": None, "reason": "empty title"}]}
    with Script(*[httpx.Response(200, json=bad) for _ in range(2)]).client() as client:
        report = client.bulk([{"product_id": "p"}] * 4)
    assert [one.line for one in report.rejected] == [2, 4]


def test_a_bulk_change_that_fails_half_way_says_how_far_it_came(monkeypatch):
    monkeypatch.setattr("saddle_client.lines.CHUNK_LINES", 1)
    with (
        Script(httpx.Response(200, json=DONE), problem(503, code="read_only")).client() as client,
        pytest.raises(BulkError) as raised,
    ):
        client.bulk([{"product_id": "p", "title": "t"}] * 2)
    assert (raised.value.report.stored, raised.value.report.requests) == (1, 1)
    assert isinstance(raised.value.__cause__, UnavailableError)


def test_no_changes_are_no_request():
    with Script().client() as client:
        assert client.bulk([]).requests == 0


# Paths


@pytest.mark.parametrize(
    ("product_id", "path"),
    [("p1", b"p1"), ("a/b", b"a%2Fb"), ("..", b"%2E%2E"), ("x?y#z%", b"x%3Fy%23z%25"), ("é", b"%C3%A9")],
)
def test_an_id_is_one_segment_of_the_path_whatever_it_holds(product_id, path):
    script = Script(httpx.Response(200, json={"product": {"product_id": product_id}, "request_id": "r"}))
    with script.client() as client:
        client.get_product(product_id)
    assert script.asked[0].url.raw_path == b"/v1/products/" + path


def test_an_empty_id_is_refused_before_it_becomes_another_route():
    with Script().client() as client, pytest.raises(ValueError, match="empty"):
        client.delete_product("")


def test_a_path_before_the_routes_is_kept():
    script = Script(ok())
    with Client("http://shop/search-api/", transport=httpx.MockTransport(script)) as client:
        client.search("drill")
    assert script.asked[0].url == "http://shop/search-api/v1/search"
