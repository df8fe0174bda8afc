"""What is predicted from what: clicks split by time before any graph is built, and the pairs that came later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.behaviour.clicks import Clicks

Part = Literal["dev", "test"]
Segment = Literal["head", "torso", "tail", "cold"]
SEGMENTS: tuple[Segment, ...] = ("head", "torso", "tail", "cold")
TRAIN, DEV = 0.8, 0.9
_HEAD, _TORSO = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Later:
    """Distinct pairs of a later part: ``query``, ``product`` (P,), how often each was clicked, and whether it is new.

    A pair is *new* if no click before this part is of it. Only new pairs are predictions; the others were passed over.
    """

    query: NDArray[np.int64]
    product: NDArray[np.int64]
    count: NDArray[np.int64]
    new: NDArray[np.bool_]

    def where(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Later:
        """Some of the pairs."""
        return Later(self.query[kept], self.product[kept], self.count[kept], self.new[kept])

    def some(self, most: int) -> Later:
        """At most so many pairs, drawn by a fixed seed."""
        if len(self.query) <= most:
            return self
        return self.where(np.sort(np.random.default_rng(0).choice(len(self.query), most, replace=False)))


@dataclass(frozen=True, slots=True)
class Task:
    """Train clicks, those of train and dev together, and the pairs of dev and test."""

    name: str
    product_ids: Sequence[str]
    texts: Sequence[str]
    train: Clicks
    before_test: Clicks
    dev: Later
    test: Later

    @classmethod
    def split(cls, name: str, product_ids: Sequence[str], texts: Sequence[str], clicks: Clicks) -> Task:
        """By time: the first 80 % of clicks are for training, 10 % for dev, 10 % for test."""
        if np.isnan(clicks.time).any() or (np.diff(clicks.time) < 0).any():
            raise ValueError(f"{name}: a split by time wants every click's time, in order")
        ends = [int(share * len(clicks)) for share in (TRAIN, DEV)]
        train, dev, test = (clicks.where(slice(*ends_)) for ends_ in ((0, ends[0]), (*ends,), (ends[1], None)))
        before = np.concatenate([keys(train, len(product_ids)), keys(dev, len(product_ids))])
        return cls(
            name,
            product_ids,
            texts,
            train,
            before_test=clicks.where(slice(ends[1])),
            dev=_later(dev, keys(train, len(product_ids)), len(product_ids)),
            test=_later(test, before, len(product_ids)),
        )

    def known(self) -> dict[int, NDArray[np.int64]]:
        """Train products of each query that has any."""
        found = np.unique(keys(self.train, len(self.product_ids)))
        query, product = np.divmod(found, len(self.product_ids))
        starts = np.flatnonzero(np.diff(query, prepend=-1))
        return dict(zip(query[starts].tolist(), np.split(product, starts[1:]), strict=True))

    def segments(self, kind: Literal["query", "product"]) -> NDArray[np.int64]:
        """The segment of each query or product, by place in ``SEGMENTS``.

        Of those with train clicks, the head are the most clicked with half of all clicks together, the torso those that
        have the next three tenths, the tail the rest; cold are those without.
        """
        size = len(self.train.queries) if kind == "query" else len(self.product_ids)
        counts = np.bincount(getattr(self.train, kind), minlength=size)
        order = np.argsort(-counts, kind="stable")
        before = (np.cumsum(counts[order]) - counts[order]) / max(1, counts.sum())
        found = np.empty(size, dtype=np.int64)
        found[order] = np.where(before < _HEAD, 0, np.where(before < _TORSO, 1, 2))
        found[counts == 0] = 3
        return found


def keys(clicks: Clicks, products: int) -> NDArray[np.int64]:
    """One number for each click's pair, (E,)."""
    return clicks.query.astype(np.int64) * products + clicks.product


def _later(clicks: Clicks, before: NDArray[np.int64], products: int) -> Later:
    distinct, count = np.unique(keys(clicks, products), return_counts=True)
    query, product = np.divmod(distinct, products)
    return Later(query, product, count, new=~np.isin(distinct, before))
