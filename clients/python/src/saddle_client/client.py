"""The client for programs that wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, Unpack

import httpx

from saddle_client import calls, models
from saddle_client.errors import BulkError, SaddleError
from saddle_client.exchange import Exchange, Terms, headers
from saddle_client.lines import chunks
from saddle_client.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from saddle_client.calls import Answer, Call


class Client:
    """Calls to the service at ``url``; safe to share between threads. Every call raises :class:`SaddleError`.

    Args:
        url: where the service is, such as ``http://127.0.0.1:8080``; a path is kept before the routes.
        api_key: sent as ``Authorization: Bearer …``.
        timeout: seconds that each step of an attempt may take: to connect, to send, to hear something.
        deadline: seconds that a call may take with its repetitions, unless the call itself says. The service is told
            what is left of them, and does not begin what would come too late.
        retry: how often and how patiently requests are repeated.
        transport: what sends requests, instead of the network.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 10.0,
        deadline: float | None = None,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._terms = Terms(timeout=timeout, deadline=deadline, retry=retry or Retry())
        self._http = httpx.Client(base_url=url, headers=headers(api_key), transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; nothing may be asked after."""
        self._http.close()

    def search(
        self, query: models.Query, *, deadline: float | None = None, **options: Unpack[models.SearchOptions]
    ) -> models.SearchResponse:
        """Find products, best first."""
        return self._send(calls.search(query, **options), deadline)

    def search_batch(
        self, searches: Iterable[models.SearchRequest], *, deadline: float | None = None
    ) -> models.BatchResponse:
        """Find products for several searches at once; each has an answer or a problem of its own."""
        return self._send(calls.search_batch(searches), deadline)

    def similar(
        self, product_id: str, *, deadline: float | None = None, **options: Unpack[models.SimilarOptions]
    ) -> models.SearchResponse:
        """Find the products nearest to one of the catalogue."""
        return self._send(calls.similar(product_id, **options), deadline)

    def search_by_picture(
        self, picture: bytes, *, deadline: float | None = None, **options: Unpack[models.PictureOptions]
    ) -> models.SearchResponse:
        """Find the products whose pictures are most like ``picture``, a file's bytes, and that answer ``q``, if any."""
        return self._send(calls.search_by_picture(picture, **options), deadline)

    def explain(self, query: str, product_id: str, *, deadline: float | None = None) -> models.ExplainResponse:
        """Say why a product is where it is in a query's answer."""
        return self._send(calls.explain(query, product_id), deadline)

    def get_product(self, product_id: str, *, deadline: float | None = None) -> models.ProductResponse:
        """Read a product as searches see it."""
        return self._send(calls.get_product(product_id), deadline)

    def put_product(
        self, product_id: str, product: models.Product | Mapping[str, Any], *, deadline: float | None = None
    ) -> models.ChangeResponse:
        """Add a product or replace it whole: its columns as in a catalogue's row, ``title`` at least."""
        return self._send(calls.put_product(product_id, product), deadline)

    def delete_product(self, product_id: str, *, deadline: float | None = None) -> models.ChangeResponse:
        """Delete a product. Not repeated where it may have been done: the answer would be that there is none."""
        return self._send(calls.delete_product(product_id), deadline)

    def bulk(self, changes: Iterable[models.Change]) -> models.BulkReport:
        """Store and delete many products in their order, drawn from ``changes`` as they are sent.

        Raises:
            BulkError: a request failed; its report tells what those before it did.
        """
        report = models.BulkReport()
        for lines in chunks(changes):
            try:
                report.add(self._send(calls.bulk(b"".join(lines)), None), len(lines))
            except SaddleError as error:
                raise BulkError(report) from error
        return report

    def list_snapshots(self, *, deadline: float | None = None) -> models.SnapshotsResponse:
        """List the snapshots, the newest first."""
        return self._send(calls.list_snapshots(), deadline)

    def activate_snapshot(self, snapshot_id: str, *, deadline: float | None = None) -> models.ActivatedResponse:
        """Check a snapshot and answer from it."""
        return self._send(calls.activate_snapshot(snapshot_id), deadline)

    def roll_back_snapshot(self, *, deadline: float | None = None) -> models.ActivatedResponse:
        """Answer from the snapshot before the current one. Not repeated where it may have been done."""
        return self._send(calls.roll_back_snapshot(), deadline)

    def live(self) -> models.LiveResponse:
        """Whether the process is up, asked once."""
        return self._send(calls.live(), None)

    def ready(self) -> models.ReadyResponse:
        """Whether it can answer searches, and from which snapshot, asked once."""
        return self._send(calls.ready(), None)

    def _send(self, call: Call[Answer], deadline: float | None) -> Answer:
        exchange = Exchange(call, self._terms, deadline)
        while True:
            try:
                response = self._http.send(exchange.request(self._http))
            except httpx.TransportError as error:
                pause = exchange.pause_after_loss(error)
            else:
                wait = exchange.pause_after(response)
                if wait is None:
                    return exchange.answer(response)
                pause = wait
            time.sleep(pause)
