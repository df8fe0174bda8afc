"""What the behaviour network is trained on: contrast between views first, then the clicks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from model.behaviour.network import Dcah
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
    shuffled = tuple(part[torch.randperm(len(part), generator=generator)] for part in features)
    # queries and products apart: to tell one from the other would be no work
    nodes = tuple(torch.randperm(len(part), generator=generator)[:batch] for part in features)
    seen = [view.around(*nodes, hops=network.config.hops) for view in views]
    one, two = (each.embed(network, *features) for each in seen)
    strange = seen[0].embed(network, *shuffled)
    losses = [nt_xent(*each, temperature=temperature) for each in zip(one, two, strange, strict=True)]
    return torch.stack(losses).mean()


def ranking(
    network: Dcah,
    embedded: tuple[Tensor, Tensor],
    product: Tensor,
    weights: Tensor,
    candidates: Tensor,
    log_scale: Tensor,
) -> Tensor:
    """Cross-entropy of clicked products among ``candidates`` (K,), the mean over pairs (B,) by ``weights`` (B,).

    Candidates are different products in order. Each pair's own product stands beside them; where it is among them too,
    it is counted once.

    Args:
        network: what scores.
        embedded: embeddings of the pairs' queries (B, d), and of their products and the candidates (B + K, d).
        product: the pairs' products (B,).
        weights: what each pair counts.
        candidates: products to rank each pair's own among.
        log_scale: logarithm of what scores are multiplied by.
    """
    asked, products = embedded
    clicked, offered = products[: len(product)], products[len(product) :]
    scale = log_scale.exp()
    others = network.scores(asked, offered, scale=scale)
    place = torch.searchsorted(candidates, product).clamp(max=len(candidates) - 1)
    among = torch.nonzero(candidates[place] == product)[:, 0]
    others[among, place[among]] = -torch.inf
    own = scale * network.pair_scores(asked, clicked)
    losses = torch.logaddexp(own, others.logsumexp(1)) - own
    return (weights * losses).sum() / weights.sum()
