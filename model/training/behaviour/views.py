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

    from model.behaviour.convolutions import Channels, Part
    from model.behaviour.network import Dcah


class Drops(NamedTuple):
    """Shares that are left out, 0 to 1."""

    pairs: float
    nodes: float


class View(NamedTuple):
    """One draw: of ``channels`` the pairs (P,), queries (Q,) and products (N,) that stay, all of bool."""

    channels: Channels
    pairs: Tensor
    queries: Tensor
    products: Tensor

    def around(self, queries: Tensor, products: Tensor, *, hops: int) -> Seen:
        """What some queries (K,) and products (L,) see of it."""
        part = self.channels.around(queries, products, self.pairs, hops=hops)
        return Seen(self, part, *part.places(queries, products))


class Seen(NamedTuple):
    """What the nodes at some places of a part see in a view."""

    view: View
    part: Part
    queries: Tensor
    products: Tensor

    def embed(self, network: Dcah, query_features: Tensor, product_features: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of those queries (K, d) and products (L, d), given the text vectors of all (Q, F), (N, F)."""
        here, there = self.part.queries, self.part.products
        x_queries, x_products = network.project(query_features[here], product_features[there])
        z = network(
            x_queries * self.view.queries[here][:, None],
            x_products * self.view.products[there][:, None],
            self.part.graphs,
        )
        return z.queries[self.queries], z.products[self.products]


def draw(channels: Channels, drops: Drops, generator: torch.Generator) -> View:
    """A random view."""
    kept = _kept(channels.pairs, drops.pairs, generator)
    queries, products = (_kept(count, drops.nodes, generator) for count in (channels.queries, channels.products))
    return View(channels, kept, queries, products)


def _kept(count: int, dropped: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) >= dropped
