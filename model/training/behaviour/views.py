"""Views of the graphs with something left out, the same in both channels.

What is drawn are pairs and nodes. A pair that is left out is no edge of the click graph, and brings no product into a
session. A node that is left out keeps its place and what reaches it, but its own vector is hidden: nothing of it
reaches others, and it has to be told by its neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from model.behaviour.network import Channels, Convolutions, Dcah, Embeddings


class Drops(NamedTuple):
    """Shares that are left out, 0 to 1."""

    pairs: float
    nodes: float


class View(NamedTuple):
    """One draw: graphs of the pairs that stay, and which queries (Q,) and products (N,) stay."""

    graphs: Convolutions
    queries: Tensor
    products: Tensor

    def embed(self, network: Dcah, x_queries: Tensor, x_products: Tensor) -> Embeddings:
        """Embeddings of all nodes in this view, from their projections (Q, d), (N, d)."""
        return network(x_queries * self.queries[:, None], x_products * self.products[:, None], self.graphs)  # type: ignore[no-any-return]


def draw(channels: Channels, drops: Drops, generator: torch.Generator) -> View:
    """A random view."""
    kept = _kept(channels.pairs, drops.pairs, generator)
    queries, products = (_kept(count, drops.nodes, generator) for count in (channels.queries, channels.products))
    return View(channels.convolutions(kept), queries, products)


def _kept(count: int, dropped: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) >= dropped
