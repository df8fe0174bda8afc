"""The one training loop of every baseline: Adam, a rate that falls when dev stops improving, and an early end.

The budget is time of this process on all cores together, so that what else runs on the machine is no one's loss. Dev
evaluations count towards it, as they do in :class:`model.training.trainer.Trainer`.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from benchmarks.compare.score import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from benchmarks.compare.data import Shop
    from benchmarks.compare.score import Metrics, Ranker

EVALUATIONS = 48
"""Dev evaluations in a budget that is used up, if they are quick."""
EVALUATION_COST = 4.0
"""Training lasts at least this many times as long as the last evaluation before there is another."""
PATIENCE = 3
"""Evaluations without improvement after which the rate falls."""
FALLS = 2
"""Times the rate may fall; the run ends at the next."""
_FALL = 0.3
_WARM_UP_STEPS = 20
_GRADIENT_NORM = 5.0


class System(Protocol):
    """A baseline that can be trained: its model, its loss, and the ranker that its present state makes."""

    model: nn.Module
    rate: float
    """Adam's peak learning rate."""
    dev: Shop
    """A cut of the shop, small enough to choose a state by."""

    def loss(self, step: int) -> Tensor:
        """The loss of the batch drawn for ``step``."""

    def ranker(self, shop: Shop) -> Ranker:
        """Rank ``shop`` with the model as it stands."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training took, and the dev metric of the state that was kept."""

    steps: int
    seconds: float
    stopped_early: bool
    best: float


def dev_metric(metrics: Metrics) -> float:
    """What a state is chosen by: both protocols count alike."""
    return 0.5 * (metrics["retrieve"]["R(rel=4)@10"] + metrics["rank"]["nDCG@10"])


def fit(system: System, *, core_minutes: float, report: Callable[[str], None]) -> Fitted:
    """Train ``system`` for at most ``core_minutes`` and leave it in the state that was best on dev."""
    model = system.model
    optimizer = _optimizer(model, system.rate)
    started, began = time.monotonic(), time.process_time()
    deadline, evaluated, patience = began + 60.0 * core_minutes, began, _Patience()
    interval = 60.0 * core_minutes / EVALUATIONS
    best_state = copy.deepcopy(model.state_dict())
    step, rate = 0, system.rate
    model.train()
    while not patience.exhausted:
        now = time.process_time()
        if now >= min(deadline, evaluated + interval):
            metrics = _evaluate(system)
            evaluated = time.process_time()
            interval = max(interval, EVALUATION_COST * (evaluated - now))
            report(_line(step, now - began, metrics))
            if patience.improved(dev_metric(metrics)):
                best_state = copy.deepcopy(model.state_dict())
            if evaluated >= deadline:
                break
            if patience.spent():
                rate *= _FALL
                model.load_state_dict(best_state)
                optimizer = _optimizer(model, rate)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / _WARM_UP_STEPS)
        optimizer.zero_grad(set_to_none=True)
        system.loss(step).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        optimizer.step()
        step += 1
    model.load_state_dict(best_state)
    model.eval()
    return Fitted(step, time.monotonic() - started, patience.exhausted, patience.best)


class _Patience:
    """Counts evaluations without improvement, and how often they used it up."""

    def __init__(self) -> None:
        self.best = -1.0
        self._stale = 0
        self._falls = 0

    @property
    def exhausted(self) -> bool:
        return self._falls > FALLS

    def improved(self, metric: float) -> bool:
        better = metric > self.best
        self._stale = 0 if better else self._stale + 1
        self.best = max(self.best, metric)
        return better

    def spent(self) -> bool:
        if self._stale < PATIENCE:
            return False
        self._stale = 0
        self._falls += 1
        return True


def _optimizer(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate, fused=True)


def _evaluate(system: System) -> Metrics:
    system.model.eval()
    with torch.no_grad():
        metrics = evaluate(system.ranker(system.dev), system.dev, "dev")
    system.model.train()
    return metrics


def _line(step: int, seconds: float, metrics: Metrics) -> str:
    retrieve, rank = metrics["retrieve"], metrics["rank"]
    return (
        f"step {step:,}, {seconds:.0f} core-seconds: dev R@10 {retrieve['R(rel=4)@10']:.3f}, "
        f"RR@100 {retrieve['RR(rel=4)@100']:.3f}, rank nDCG@10 {rank['nDCG@10']:.4f}"
    )
