"""Training the behaviour network: a batch of pairs in every loss, and all that their embeddings depend on.

No neighbour is sampled away; what a batch does not depend on is left out of its step, which changes nothing. With
sparse products a step is linear in edges and members. The network kept is the best on dev.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model.behaviour.convolutions import Channels
from model.behaviour.network import Config, Dcah
from model.training import checkpoint
from model.training.behaviour.objective import contrast, ranking
from model.training.behaviour.views import Drops, draw
from model.training.progress import Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from model.behaviour.graphs import Graphs
    from model.behaviour.network import Embeddings

CHECKPOINT_SECONDS = 30.0
_CLIP = 2.0
_PRETRAINING_SHARE = 0.3
"""Of the time, at most."""
_SCALE = 1.0  # the logarithm of what scores are first multiplied by


class Recipe(BaseModel):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    width: int = 64
    hops: int = 1
    sessions: bool = True
    """With the session channel; without it the click graph alone."""
    joined: bool = True
    """Queries are members of the sessions that they were asked in; without it only products are."""
    curvature: float = 0.0
    steps: int = 200
    minutes: float | None = None
    """Wall-clock time after which training ends wherever it is, pre-training included."""
    rate: float = 0.005
    batch: int = 4096
    """Pairs in a loss."""
    candidates: int = 512
    """Products that a loss ranks a pair's own among; all of them where there are no more."""
    count_power: float = 0.5
    """A pair weighs its number of clicks to this power."""
    drop_pairs: float = 0.5
    """DropEdge: the share of pairs that every step leaves out of both graphs; 0 does without. It is what keeps the
    network from answering every pair by that pair itself."""
    pretraining_steps: int = 0
    """Steps of contrast before the first step of ranking; 0 does without."""
    pretraining_batch: int = 1024
    view_pairs: float = 0.4
    view_nodes: float = 0.4
    """Shares of pairs and of nodes that a view in pre-training leaves out."""
    temperature: float = 0.5
    """Of the contrast; a sharper one drives products apart that shoppers take for alike."""
    evaluate_every: int = 20
    patience: int = 5
    """Evaluations without a better one after which training ends."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The best network on dev, its embeddings of the whole graphs, and what it took."""

    network: Dcah
    embeddings: Embeddings
    dev: float
    step: int
    """The step it was the best at."""
    steps: int
    seconds: float


@dataclass(slots=True)
class _State:
    """What a checkpoint remembers beside tensors."""

    pretrained: int = 0
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    worse: int = 0
    seconds: float = 0.0


class Trainer:
    """One training run on ``graphs`` and the text vectors of its queries (Q, F) and products (N, F).

    ``judge`` gives the figure on dev that decides, larger is better. ``data`` names what is learnt from, by
    fingerprints.

    Raises:
        ResumeError: ``directory`` holds a checkpoint of another recipe or other data.
    """

    def __init__(
        self,
        graphs: Graphs,
        features: tuple[Tensor, Tensor],
        recipe: Recipe,
        *,
        judge: Callable[[Dcah, Embeddings], float],
        report: Callable[[Progress], None],
        directory: Path | None = None,
        data: Mapping[str, str] | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self._features, self._judge, self._report = features, judge, report
        self._directory, self._data = directory, dict(data or {})
        self._channels = Channels(graphs, sessions=recipe.sessions, joined=recipe.joined)
        self._whole = self._channels.convolutions()
        config = Config(
            features=features[0].shape[1],
            width=recipe.width,
            hops=recipe.hops,
            sessions=recipe.sessions and graphs.sessions > 0,
            curvature=recipe.curvature,
        )
        self.network = Dcah(config)
        self._log_scale = nn.Parameter(torch.tensor(_SCALE))
        self._state = _State()
        self._best = self._copy()
        self._moments: dict[str, Tensor] = {}
        self._clock = self._saved = time.monotonic()
        self.resumed_at = self._resume()

    def fit(self) -> Trained:
        """Do what is left to do and return the best network."""
        state, recipe = self._state, self.recipe
        self._clock = time.monotonic()
        if state.step == 0 and state.pretrained < recipe.pretraining_steps:
            self._pretrain()
        if not self._done():
            self._train()
        self.network.load_state_dict(self._best)
        return Trained(self.network, self.embed(), state.best, state.best_step, state.step, state.seconds)

    @torch.no_grad()
    def embed(self) -> Embeddings:
        """Embeddings of the whole graphs by the network as it is."""
        embedded: Embeddings = self.network(*self.network.project(*self._features), self._whole)
        return embedded

    def _pretrain(self) -> None:
        state, recipe = self._state, self.recipe
        drops = Drops(recipe.view_pairs, recipe.view_nodes)
        optimizer = self._optimizer()
        while state.pretrained < recipe.pretraining_steps and not self._late(_PRETRAINING_SHARE):
            generator = self._generator("pretraining", state.pretrained)
            views = (draw(self._channels, drops, generator), draw(self._channels, drops, generator))
            loss = contrast(
                self.network,
                self._features,
                views,
                batch=recipe.pretraining_batch,
                temperature=recipe.temperature,
                generator=generator,
            )
            self._descend(optimizer, loss)
            state.pretrained += 1
            self._tick(optimizer)
            fraction = state.pretrained / recipe.pretraining_steps
            self._report(Progress(state.pretrained, fraction, loss.item(), stage="pretraining"))
        self._moments = {}

    def _train(self) -> None:
        state, recipe = self._state, self.recipe
        optimizer = self._optimizer()
        weights = self._channels.count.double().pow(recipe.count_power)
        weights[~torch.isin(torch.arange(len(weights)), self._channels.edges)] = 0.0
        while not self._done():
            generator = self._generator("training", state.step)
            view = draw(self._channels, Drops(recipe.drop_pairs, 0.0), generator)
            batch = self._batch(generator)
            query, product = self._channels.query[batch], self._channels.product[batch]
            candidates = self._candidates(generator)
            seen = view.around(query, torch.cat([product, candidates]), hops=recipe.hops)
            embedded = seen.embed(self.network, *self._features)
            loss = ranking(self.network, embedded, product, weights[batch].float(), candidates, self._log_scale)
            self._descend(optimizer, loss)
            state.step += 1
            due = state.step % recipe.evaluate_every == 0 or state.step == recipe.steps
            dev = self._evaluate() if due else None
            self._tick(optimizer)
            metrics = None if dev is None else {"MRR": dev}
            self._report(Progress(state.step, state.step / recipe.steps, loss.item(), metrics))
        if state.step % recipe.evaluate_every and state.step < recipe.steps:
            self._evaluate()  # time was over between two looks

    def _done(self) -> bool:
        state, recipe = self._state, self.recipe
        return state.step >= recipe.steps or state.worse >= recipe.patience or (state.step > 0 and self._late())

    def _late(self, share: float = 1.0) -> bool:
        """Whether this share of the time is over."""
        minutes = self.recipe.minutes
        return minutes is not None and self._state.seconds >= share * 60.0 * minutes

    def _batch(self, generator: torch.Generator) -> Tensor:
        edges = self._channels.edges
        if len(edges) <= self.recipe.batch:
            return edges
        return edges[torch.randint(len(edges), (self.recipe.batch,), generator=generator)]

    def _candidates(self, generator: torch.Generator) -> Tensor:
        products = self._channels.products
        if products <= self.recipe.candidates:
            return torch.arange(products)
        drawn = torch.randint(products, (self.recipe.candidates,), generator=generator)
        different: Tensor = torch.unique(drawn)
        return different

    def _evaluate(self) -> float:
        state = self._state
        found = self._judge(self.network, self.embed())
        if found > state.best:
            state.best, state.best_step, state.worse = found, state.step, 0
            self._best = self._copy()
        else:
            state.worse += 1
        return found

    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam([*self.network.parameters(), self._log_scale], lr=self.recipe.rate, fused=True)
        checkpoint.restore(optimizer, self._moments)
        return optimizer

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*self.network.parameters(), self._log_scale], _CLIP)
        optimizer.step()

    def _tick(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the time of a step that is done, and save now and then."""
        now = time.monotonic()
        self._state.seconds += now - self._clock
        self._clock = now
        if self._directory is not None and now - self._saved > CHECKPOINT_SECONDS:
            self._save(self._directory, optimizer)
            self._saved = now

    def _generator(self, stage: Stage, step: int) -> torch.Generator:
        """Draws of one step: a resumed run sees what it would have seen."""
        number = zlib.crc32(f"{self.recipe.seed}/{stage}/{step}".encode())
        return torch.Generator().manual_seed(number)

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _save(self, directory: Path, optimizer: torch.optim.Optimizer) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= {"scale": self._log_scale, **checkpoint.moments(optimizer)}
        state = {name: getattr(self._state, name) for name in _State.__slots__}
        checkpoint.save(directory, tensors, state | self._identity())

    def _resume(self) -> tuple[Stage, int] | None:
        """Take up the checkpoint of this very run, if there is one; returns the step it stands at."""
        if self._directory is None or (loaded := checkpoint.load(self._directory)) is None:
            return None
        tensors, state = loaded
        checkpoint.check(self._identity(), state, directory=self._directory)
        self.network.load_state_dict(checkpoint.under("model.", tensors))
        self._best = checkpoint.under("best.", tensors)
        self._moments = checkpoint.under("adam.", tensors)
        with torch.no_grad():
            self._log_scale.copy_(tensors["scale"])
        self._state = _State(**{name: state[name] for name in _State.__slots__})
        if self._state.step or self._state.pretrained == self.recipe.pretraining_steps:
            return "training", self._state.step
        return "pretraining", self._state.pretrained

    def _identity(self) -> dict[str, dict[str, Any]]:
        return {"recipe": self.recipe.model_dump(), "data": self._data}
