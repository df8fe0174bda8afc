"""How a query that no graph knows comes by a vector: its projection, or the vectors of known queries like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.behaviour.baselines import InnerProducts
from benchmarks.behaviour.score import measures, ranks
from model.training.behaviour.mapping import SHARES, with_mapping

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.behaviour.task import Task
    from model.training.behaviour.trainer import Trained


@torch.no_grad()
def compare_mappers(trained: Trained, task: Task, features: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Figures of dev and test pairs whose query has no train click, for each share of the neighbours."""
    known = np.unique(task.train.query)
    found: dict[str, Any] = {}
    for name, later in (("dev", task.dev), ("test", task.test)):
        asked = np.unique(later.query)
        unknown = asked[~np.isin(asked, known)]
        here = np.isin(later.query, unknown)
        part = later.where(here)
        if not len(unknown):
            continue
        found[name] = {}
        for share in SHARES:
            queries = trained.embeddings.queries.clone()
            queries[torch.from_numpy(unknown)] = with_mapping(trained, features[0], known, unknown, share=share)
            ranker = InnerProducts(*trained.network.indexed(queries, trained.embeddings.products))
            found[name][f"{share:g}"] = measures(ranks(ranker, part, known={}, masked=False))
    return found
