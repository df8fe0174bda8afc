"""What the behaviour network is trained on: contrast between views first, then the clicks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from model.behaviour.network import Dcah, Embeddings
    from model.training.behaviour.views import View


def nt_xent(first: Tensor, second: Tensor, strangers: Tensor, *, temperature: float) -> Tensor:
    """Contrast of B nodes in two views (B, d) each, against each other and against ``strangers`` (K, d).

    Every row of either view has to pick its twin in the other view out of all rows of that view and the strangers, by
    cosine over ``temperature``.
    """
    first, second, strangers = (functional.normalize(part, dim=1) for part in (first, second, strangers))
    between = first @ second.T / temperature
    twins = torch.arange(len(first))
    there = torch.cat([between, first @ strangers.T / temperature], dim=1)
    back = torch.cat([between.T, second @ strangers.T / temperature], dim=1)
    return 0.5 * (functional.cross_entropy(there, twins) + functional.cross_entropy(back, twins))


def contrast(
    network: Dcah,
    features: tuple[Tensor, Tensor],
    views: tuple[View, View],
    *,
    batch: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """NT-Xent of random nodes in two views; strangers are nodes of a random graph.

    In the random graph every product stands in another's place, and every query too: as many edges and sessions, of the
    same sizes, between nodes that never met.
    """
    x = network.project(*features)
    shuffled = tuple(part[torch.randperm(len(part), generator=generator)] for part in x)
    one, two = (view.embed(network, *x) for view in views)
    strange: Embeddings = views[0].embed(network, *shuffled)
    losses = []
    for kind in range(2):  # queries and products: to tell one from the other would be no work
        nodes = torch.randperm(len(x[kind]), generator=generator)[:batch]
        losses.append(nt_xent(one[kind][nodes], two[kind][nodes], strange[kind][nodes], temperature=temperature))
    return torch.stack(losses).mean()


def ranking(
    network: Dcah,
    embedded: Embeddings,
    pairs: tuple[Tensor, Tensor],
    weights: Tensor,
    candidates: Tensor,
    log_scale: Tensor,
) -> Tensor:
    """Cross-entropy of clicked products among ``candidates`` (K,), the mean over pairs (B,), (B,) by ``weights`` (B,).

    Candidates are different products in order. Each pair's own product stands beside them; where it is among them too,
    it is counted once.
    """
    query, product = pairs
    asked, scale = embedded.queries[query], log_scale.exp()
    others = network.scores(asked, embedded.products[candidates], scale=scale)
    if len(candidates) == len(embedded.products):
        losses = functional.cross_entropy(others, product, reduction="none")
    else:
        place = torch.searchsorted(candidates, product).clamp(max=len(candidates) - 1)
        among = torch.nonzero(candidates[place] == product)[:, 0]
        others[among, place[among]] = -torch.inf
        own = scale * network.pair_scores(asked, embedded.products[product])
        losses = torch.logaddexp(own, others.logsumexp(1)) - own
    return (weights * losses).sum() / weights.sum()
