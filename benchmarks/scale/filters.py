"""Recall and latency of filtered candidates, by the share of products that pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from index.algebra import Region
from index.calibration import DEPTH, Calibration
from index.candidates import CandidateIndex
from index.channels import Channels, Wanted
from index.exact import heights, scan
from index.filters import Missing
from index.live import nothing
from index.rerank import rerank
from index.selection import Selection
from index.shapes import contenders
from index.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.hyperboloid import Hyperboloids
    from model.runtime import TextEncoder

SHARES = (1.0, 0.9, 0.5, 0.1, 0.01, 0.001, 0.0001)
_ANY = Missing("anything")
"""Stands for the filter that selected; what is measured is the plan, not the reading of columns."""


def filtered(
    points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder, *, target: float
) -> dict[str, Any]:
    """Recall of the exact containment top of what passes, and median latency, for filters that pass rows at random."""
    geometry = encoder.manifest.geometry
    calibration = Calibration(points, regions, geometry=geometry, target_recall=target)
    shapes = contenders("auto", len(points), lifted=False)
    built = [CandidateIndex.build(points, c=geometry.curvature, shape=shape) for shape in shapes]
    settings = calibration.settings([calibration.trial(index) for index in built])
    channels = Channels(encoder, built[shapes.index(settings.shape)], settings, lexical=None)  # type: ignore[arg-type]
    known = heights(points, c=geometry.curvature)
    chance = np.random.default_rng(0)
    live = nothing(len(points), dim=points.shape[1])
    rates = []
    for share in SHARES:
        mask = chance.random(len(points)) < share
        selection = Selection(mask)
        view = View(points, live) if share == 1.0 else View(points, live, _ANY, selection)
        recalls, seconds, counts = [], [], []
        for centre, limit in zip(regions.centres, regions.limits, strict=True):
            region = Region.around(centre, limit)
            started = time.perf_counter()
            (rows,) = channels.near([Wanted(region, view, DEPTH)])
            found = rerank(points, rows, region, c=geometry.curvature, gamma=geometry.gamma).head(DEPTH)
            seconds.append(time.perf_counter() - started)
            truth = scan(
                points, region, c=geometry.curvature, gamma=geometry.gamma, count=DEPTH, mask=mask, known=known
            ).rows
            recalls.append(np.isin(truth, found.rows).mean())
            counts.append(len(found) / min(DEPTH, len(selection)))
        rates.append(
            {
                "share": share,
                "passing": len(selection),
                "recall": float(np.mean(recalls)),
                "least_full": float(np.min(counts)),
                "latency_seconds": float(np.median(seconds)),
            }
        )
    return {"products": len(points), "candidates": settings.model_dump(), "rates": rates}
