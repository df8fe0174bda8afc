"""What a channel of vectors proposes beside the hyperboloids: enough for a page, whatever a filter leaves of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from index.view import View

    Rows = NDArray[np.int64]

_BLOCK = 8192


def proposals(
    view: View,
    count: int,
    *,
    total: int,
    look: Callable[[int], Rows],
    every: Callable[[], Rows],
    score: Callable[[Rows], NDArray[np.float32]],
) -> Rows:
    """At least half of ``count`` rows that may be hits, if as many may.

    Args:
        view: which rows may be hits.
        count: about how many are wanted.
        total: how many rows of the snapshot the channel has.
        look: finds about as many of these as it is asked for, by codes. It is asked for more until enough may be hits.
        every: all rows that may be hits, of either kind. It is asked where ``look`` would look at all rows anyway, or
            few pass the filter.
        score: says which of these come first (K), the highest.
    """
    sought = count
    while (fetched := view.fetched(sought)) is not None and fetched < total:
        near = view.standing(look(fetched))
        if 2 * len(near) >= count:
            return near
        sought *= 2
    rows = every()
    if len(rows) <= count:
        return rows
    scores = np.concatenate([score(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)])
    return rows[np.argpartition(scores, -count)[-count:]]
