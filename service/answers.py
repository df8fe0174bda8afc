"""Where searches are answered: from the cache, or in batches by the live searcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index.asked import ByPicture
from service import tracing
from service.batching import Batcher
from service.cache import AnswerCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from index.asked import Asked
    from index.results import SearchResult
    from index.search import Searcher
    from service.live import LiveSearcher
    from service.metrics import Metrics


class Answers:
    """Answers searches through ``live``; to be used from one event loop.

    Args:
        live: answers what is not kept.
        threads: how many batches are computed at once.
        cache_hits: how many hits to keep for those who ask the same again; 0 for none.
        metrics: where stages, batches and the cache are recorded.
        offer: gets to see what was answered, and how it would be again.
    """

    def __init__(
        self,
        live: LiveSearcher,
        *,
        threads: int,
        cache_hits: int,
        metrics: Metrics,
        offer: Callable[[Callable[[Searcher], SearchResult], SearchResult], None],
    ) -> None:
        self._live = live
        self._metrics = metrics
        self._offer = offer
        self._cache = AnswerCache(cache_hits)
        self._batcher: Batcher[Asked, SearchResult] = Batcher(
            self._computed, run=live.run, rooms=threads, metrics=metrics
        )

    @property
    def waiting(self) -> int:
        """How many searches wait to be computed."""
        return self._batcher.depth

    async def answer(self, asked: Asked) -> SearchResult:
        """The answer to ``asked``, with all changes in it that were acknowledged by now.

        Raises:
            NotReadyError: no snapshot is loaded yet.
            DeadlineExceededError: the request's deadline passed before it was begun.
            ValueError, UnknownProductError: as :meth:`index.search.Searcher.search` and ``similar`` do.
        """
        # before the search begins, so that it sees what this version has, or more; a picture is not sent twice
        version = None if self._cache.off or isinstance(asked, ByPicture) else self._live.version
        answer = None if version is None else self._cache.get(version, asked)
        if version is not None:
            self._metrics.cache(answer is not None)
        if answer is None:
            answer = await self._found(asked)
            # by another snapshot if it was taken up meanwhile
            if version is not None and answer.snapshot == version.snapshot:
                self._cache.put(version, asked, answer)
        self._metrics.answered(answer)
        self._offer(lambda searcher: searcher.answer(asked), answer)
        return answer

    async def _found(self, asked: Asked) -> SearchResult:
        if isinstance(asked, ByPicture):  # decoding one may take as long as a whole batch, for which others would wait
            answer, waited = await self._live.ask(lambda searcher: searcher.answer(asked)), 0.0
        else:
            answer, waited = await self._batcher.answer(asked)
        self._metrics.stage("queue", waited)
        self._metrics.stages(answer.timings)
        self._metrics.measured(answer.measured)
        tracing.stages(answer.timings, queue=waited)
        return answer

    def _computed(self, asked: Sequence[Asked]) -> Sequence[SearchResult | Exception]:
        with self._live.lease() as searcher:
            return searcher.search_many(asked)
