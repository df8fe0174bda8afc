"""The network of the behaviour channel: text vectors of queries and products, and what the graphs add to them.

    x    = projection of the text vector, one for queries and one for products
    z₁   = x + Σ over hops of  (D⁻½ A D⁻½)ʰ x Θₕ           the click graph, A weighted by log(1 + clicks)
    z₂   = x + D⁻¹ H W B⁻¹ Hᵀ x Θ                          the session hypergraph
    z    = β₁ z₁ + β₂ z₂,   β = softmax of w·tanh(V zₖ)    attention over the channels, for each node

A query is a member of a session through what it led to. A node without a session has β₂ = 0; a node without any edge is
its projection, so that new queries and products have vectors as well. All of it but the attention is linear: on few
clicks an activation only took away. Scores are inner products, so that any index of them serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model import lorentz

if TYPE_CHECKING:
    from model.behaviour.convolutions import Convolutions


class Config(BaseModel):
    """What a network is built from; the same for queries and products where nothing else is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int
    """Axes of the text vectors."""
    width: int = 64
    hops: int = 1
    sessions: bool = True
    """With the second channel; without it the network is a graph convolution on clicks alone."""
    curvature: float = 0.0
    """c of the curvature −c of the space that z is mapped to; 0 scores by plain inner products."""


class Embeddings(NamedTuple):
    """Vectors of Q queries and N products, and the weight of the session channel for each node (Q,), (N,)."""

    queries: Tensor
    products: Tensor
    query_weight: Tensor
    product_weight: Tensor


class Dcah(nn.Module):
    """The dual-channel network; text vectors in, embeddings out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.query = nn.Linear(config.features, width)
        self.product = nn.Linear(config.features, width)
        with torch.no_grad():  # they start as one projection, under which like texts are alike
            nn.init.orthogonal_(self.product.weight)
            nn.init.zeros_(self.product.bias)
            self.query.load_state_dict(self.product.state_dict())
        self.near = nn.ParameterList([nn.Parameter(torch.eye(width) / config.hops) for _ in range(config.hops)])
        if config.sessions:
            self.together = nn.Parameter(torch.eye(width))
            self.attend = nn.Linear(width, width // 2)
            self.weigh = nn.Linear(width // 2, 1, bias=False)

    def project(self, queries: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Text vectors (Q, F), (N, F) → what nodes are without their neighbours (Q, d), (N, d)."""
        return self.query(queries), self.product(products)

    def forward(self, x_queries: Tensor, x_products: Tensor, graphs: Convolutions) -> Embeddings:
        """Projected vectors (Q, d), (N, d) → embeddings (Q, d), (N, d)."""
        z_queries, z_products = x_queries, x_products
        here_queries, here_products = x_queries, x_products
        for theta in self.near:
            here_queries, here_products = graphs.clicks @ here_products, graphs.clicks.T @ here_queries
            z_queries, z_products = z_queries + here_queries @ theta, z_products + here_products @ theta
        first = torch.cat([z_queries, z_products])
        if graphs.gather is None or graphs.spread is None or not self.config.sessions:
            return self._split(first, torch.zeros(len(first)), len(x_queries))
        x = torch.cat([x_queries, x_products])
        second = x + (graphs.spread @ (graphs.gather @ x)) @ self.together
        weight = self._attention(first, second, graphs.masked)
        return self._split(first + weight[:, None] * (second - first), weight, len(x_queries))

    def scores(self, queries: Tensor, products: Tensor, *, scale: Tensor | float = 1.0) -> Tensor:
        """Scores of all pairs of embeddings (B, d), (K, d) → (B, K), times ``scale``; larger is better."""
        c = self.config.curvature
        if c == 0:
            return (scale * queries) @ products.T  # the few are scaled, not the many
        distances: Tensor = lorentz.pairwise_dist(_placed(queries, c), _placed(products, c), c=c)
        return -scale * distances.square()

    def pair_scores(self, queries: Tensor, products: Tensor) -> Tensor:
        """Scores of embeddings (B, d) with one product each (B, d) → (B,)."""
        c = self.config.curvature
        if c == 0:
            return (queries * products).sum(dim=1)
        distance: Tensor = lorentz.dist(_placed(queries, c), _placed(products, c), c=c)
        return -distance.square()

    def indexed(self, queries: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors whose inner products order products as :meth:`scores` does, (Q, d′), (N, d′).

        On the sheet that is the Lorentz product: one axis more.
        """
        c = self.config.curvature
        if c == 0:
            return queries, products
        m, x = _placed(queries, c), _placed(products, c)
        return torch.cat([m, -lorentz.time(m, c=c)[:, None]], 1), torch.cat([x, lorentz.time(x, c=c)[:, None]], 1)

    def _attention(self, first: Tensor, second: Tensor, masked: Tensor) -> Tensor:
        """Weight of the second channel (Q + N,)."""
        ahead = self.weigh(torch.tanh(self.attend(second))) - self.weigh(torch.tanh(self.attend(first)))
        return torch.sigmoid(ahead[:, 0]).masked_fill(masked, 0.0)

    def _split(self, z: Tensor, weight: Tensor, queries: int) -> Embeddings:
        return Embeddings(z[:queries], z[queries:], weight[:queries], weight[queries:])


_RADIUS = 4.0


def _placed(z: Tensor, c: float) -> Tensor:
    """Tangent vectors as points, softly bounded."""
    points: Tensor = lorentz.exp_map0(lorentz.bound(z, limit=_RADIUS), c=c)
    return points
