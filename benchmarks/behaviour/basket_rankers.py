"""What tells which products go together in a basket: for each product j how much it speaks for product i, (N, N).

A basket's scores are the sums over what is in it, whoever speaks. So rankers are matrices, and differ in nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.behaviour.clicks import Clicks
from model.behaviour.convolutions import Channels, Pattern
from model.behaviour.graphs import build
from model.behaviour.network import Config, Dcah

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from model.behaviour.convolutions import Convolutions

_MOST = 50  # products of a basket that is a hyperedge
_TIE = 1e-6
_FLOOR = 1e-9
_OWN = 0.03  # deviation of what products' own vectors begin as


def together(baskets: Sequence[NDArray[np.int64]], products: int) -> Tensor:
    """How many baskets hold both of two products (N, N); on the diagonal, how many hold one."""
    row, item = _flat(baskets)
    held = Pattern.of(row, item, (len(baskets), products)).matrix(torch.ones(len(item)))
    found: Tensor = held.T.straight @ held.straight.to_dense()
    return found


def cosines(shared: Tensor, *, shrink: float, power: float, shares: bool) -> Tensor:
    """Item-kNN on co-purchase: baskets ``shared`` (N, N) over √ of those that have either, plus ``shrink``.

    To a ``power``, and with ``shares`` so that all that a product says adds up to one. Ties go by popularity.
    """
    bought = shared.diagonal().clamp(min=1.0)
    found = (shared / ((bought[:, None] * bought).sqrt() + shrink)).fill_diagonal_(0.0) ** power
    if shares:
        found = functional.normalize(found, p=1.0, dim=1)
    return found + _TIE * bought / bought.max()


def ease(shared: Tensor, *, penalty: float) -> Tensor:
    """Steck 2019, "Embarrassingly shallow autoencoders for sparse data", equation 8: least squares, none for itself."""
    precision = torch.linalg.inv(shared.double() + penalty * torch.eye(len(shared), dtype=torch.float64))
    return (-precision / precision.diagonal()).fill_diagonal_(0.0).float()


class Training(NamedTuple):
    """How long and how fast a network learns."""

    steps: int
    rate: float
    batch: int = 512
    dropped: float = 0.5
    """Of the baskets that are not in the batch, the share that the hypergraph does without."""
    every: int = 10
    patience: int = 6


class Network(nn.Module):
    """The hypergraph channel alone: no click is an edge, and no query is a member.

    P(i | j) is the softmax over all i ≠ j of s·cos(zⱼ, zᵢ): a basket is a mixture of its members, each of which brings
    what is near to it. With ``own`` each product has a vector beside its text's, learnt from its baskets alone.
    """

    def __init__(self, baskets: Sequence[NDArray[np.int64]], features: Tensor, *, own: bool, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self._baskets = [items for items in baskets if len(items) <= _MOST]
        self._features = features
        self._channels = Channels(build(as_clicks(self._baskets), len(features), min_count=1 << 60), joined=False)
        self._seed = seed
        config = Config(features=features.shape[1])
        self.dcah = Dcah(config)
        self.own = nn.Parameter(_OWN * torch.randn(len(features), config.width)) if own else None
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def fit(self, judge: Callable[[Tensor], float], training: Training) -> float:
        """Train, keep the state that ``judge`` finds best, and return what it said of it.

        What a batch is asked for is not in the hypergraph that it is asked of.
        """
        optimizer = torch.optim.Adam(self.parameters(), lr=training.rate)
        rng = np.random.default_rng(self._seed)
        best, worse, kept = -1.0, 0, self.state_dict()
        for step in range(1, training.steps + 1):
            batch = rng.choice(len(self._baskets), min(training.batch, len(self._baskets) // 2), replace=False)
            stay = torch.from_numpy(rng.random(len(self._baskets)) >= training.dropped)
            stay[batch] = False
            speaks = self._speaks(self._channels.convolutions(stay[self._channels.query]))
            loss = left_out(speaks, [self._baskets[i] for i in batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % training.every:
                continue
            found = judge(self.speaks())
            worse = 0 if found > best else worse + 1
            if found > best:
                best, kept = found, {name: tensor.clone() for name, tensor in self.state_dict().items()}
            if worse == training.patience:
                break
        self.load_state_dict(kept)
        return best

    @torch.no_grad()
    def speaks(self) -> Tensor:
        """P(i | j) over all baskets (N, N)."""
        return self._speaks(self._channels.convolutions())

    def _speaks(self, graphs: Convolutions) -> Tensor:
        x = self.dcah.product(self._features)
        x = x if self.own is None else x + self.own
        z = functional.normalize(self.dcah(torch.zeros(self._channels.queries, x.shape[1]), x, graphs).products, dim=1)
        scores = (self.log_scale.exp() * z) @ z.T
        return scores.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf).softmax(1)


def left_out(speaks: Tensor, baskets: Sequence[NDArray[np.int64]]) -> Tensor:
    """−log of what the rest of a basket says for each of its members, the mean over members and then over baskets."""
    row, item = _flat(baskets)
    sizes = np.bincount(row)
    rest = torch.from_numpy(1.0 / (sizes - 1)).float()[torch.from_numpy(row)]
    # nobody speaks for itself, so the sum over a basket is that over the rest of it
    said = Pattern.of(row, item, (len(baskets), len(speaks))).matrix(rest) @ speaks
    surprise = -(said[row, item] + _FLOOR).log()
    return (surprise / torch.from_numpy(sizes[row]).float()).sum() / len(baskets)


def as_clicks(baskets: Sequence[NDArray[np.int64]]) -> Clicks:
    """Baskets as sessions of clicks, each after a query of its own that says nothing."""
    basket, product = (part.astype(np.int32) for part in _flat(baskets))
    texts = tuple(map(str, range(len(baskets))))
    return Clicks(texts, basket, product, basket, np.arange(len(product), dtype=np.float64))


def _flat(baskets: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All items of all baskets, and before them the number of the basket that each is in."""
    return np.repeat(np.arange(len(baskets)), [len(items) for items in baskets]), np.concatenate(baskets)
