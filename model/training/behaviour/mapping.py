"""Which mapping unknown queries get: tried on dev queries that no graph knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model.behaviour import bundle
from model.behaviour.bundle import Mapping
from model.behaviour.vectors import mixed
from model.training.behaviour.dev import mean_reciprocal_rank

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from model.training.behaviour.trainer import Trained

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the neighbours in the vector; 0 is the projection alone, 1 the neighbours alone."""
NEIGHBOURS, SHARPNESS = 10, 20.0
_FEWEST = 20
_CLEARLY = 1.02


@torch.no_grad()
def with_mapping(
    trained: Trained,
    features: Tensor,
    known: NDArray[Any],
    unknown: NDArray[np.int64],
    *,
    share: float,
) -> Tensor:
    """Vectors (U, d) of the queries ``unknown`` (U,) from those ``known`` (K,), rows of ``features`` (Q, F)."""
    vectors = mixed(
        features[unknown].numpy(),
        trained.network.query(features[unknown]).numpy(),
        features[known].numpy(),
        trained.embeddings.queries[known].numpy(),
        Mapping(share=share, neighbours=NEIGHBOURS, sharpness=SHARPNESS),
    )
    return torch.from_numpy(vectors)


def choose_mapping(
    trained: Trained, features: Tensor, known: NDArray[Any], query: NDArray[np.int64], product: NDArray[np.int64]
) -> tuple[Mapping, dict[str, float]]:
    """The mapping that answers the dev pairs (P,) of unknown queries best, and each share's MRR.

    Of the ``known`` queries (K,), the first are compared with, as they will be when the bundle serves.
    The projection alone costs nothing when a query is asked, so it stays unless neighbours are clearly better.
    """
    here = ~np.isin(query, known)
    unknown, places = np.unique(query[here], return_inverse=True)
    wanted = torch.from_numpy(product[here])
    compared = known[: bundle.COMPARED]
    tried = {}
    for share in SHARES if len(compared) and len(wanted) >= _FEWEST else ():
        vectors = with_mapping(trained, features, compared, unknown, share=share)
        tried[share] = mean_reciprocal_rank(trained.network, vectors[places], trained.embeddings.products, wanted)
    best = max(tried, key=lambda share: tried[share], default=0.0)
    if best and tried[best] < _CLEARLY * tried[0.0]:
        best = 0.0
    return (
        Mapping(share=best, neighbours=NEIGHBOURS, sharpness=SHARPNESS),
        {f"{share:g}": round(figure, 5) for share, figure in tried.items()},
    )
