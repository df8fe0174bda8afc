"""From a trained model to an encoder bundle: ONNX graphs, checked against torch before anyone sees them."""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model import bundle
from model.manifests import appearing
from model.runtime import EXPLANATION, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.bundle import Manifest
    from model.encoders import Anthem
    from model.text import TermBatch, Tokenizer

TOLERANCE = 1e-4
"""How far ONNX Runtime may be from torch where float32 is sure of the result."""
_OWN_ERRORS = 10.0
"""How many times torch's own distance from float64 is allowed beside that. The norm that a midpoint is scaled by is
the difference of two squares, nearly equal where words far out lie in one direction: float32 then loses most digits.
"""
_OPSET = 20
_EXPLAINED = 8


class ParityError(RuntimeError):
    """An exported graph that does not compute what the trained model does."""


class _QueryGraph(nn.Module):
    def __init__(self, model: Anthem) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode_queries(features, terms)


class _ProductGraph(nn.Module):
    def __init__(self, model: Anthem) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, terms: Tensor) -> Tensor:
        return self.model.encode_products(features, terms)


class _ExplainGraph(nn.Module):
    """One query and one title → the attention in both, and the temperature of the query."""

    def __init__(self, model: Anthem) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, query_features: Tensor, query_terms: Tensor, title_features: Tensor, title_terms: Tensor
    ) -> tuple[Tensor, ...]:
        """Features (T, F) of either text and its terms (1, L) or (1, M), as both encoders take them."""
        model = self.model
        asked, shown = model.embedding(query_features), model.embedding(title_features)
        pairs, _ = model.query.attend(asked.vectors, query_terms)
        _, weights = model.product.attend(shown.vectors, title_terms)
        temperature = torch.exp(-model.log_scale) / model.query.sharpness(asked.vectors, query_terms)
        return pairs[0], weights[0], temperature[0, 0]


def export(
    model: Anthem,
    tokenizer: Tokenizer,
    out: Path,
    *,
    catalog: str,
    training: dict[str, object],
    samples: Sequence[str],
    interactions: str | None = None,
    until: str | None = None,
) -> Manifest:
    """Write ``model`` as an encoder bundle at ``out``, which must not exist, in one rename.

    ``samples`` are texts to compare both runtimes on: all in one batch, the first alone, and all as one long text.

    Raises:
        ParityError: ONNX Runtime and torch differ by more than float32 leaves; see :func:`check_parity`.
        FileExistsError: there is something at ``out``.
    """
    with appearing(out) as directory:
        model.eval()
        (directory / bundle.TOKENIZER).write_text(tokenizer.vocabulary.model_dump_json(), encoding="utf-8")
        write_graph(_QueryGraph(model), directory / bundle.QUERY_ENCODER, _text(2, 3), ["centre", "limit"])
        write_graph(_ProductGraph(model), directory / bundle.PRODUCT_ENCODER, _text(2, 3), ["point"])
        pair = _text(1, 3, prefix="query_") | _text(1, 6, prefix="title_")
        write_graph(_ExplainGraph(model), directory / bundle.EXPLAINER, pair, EXPLANATION)
        geometry = bundle.Geometry(
            dim=model.config.dim, curvature=model.config.curvature, gamma=float(model.gamma.detach())
        )
        manifest = bundle.seal(
            directory,
            geometry=geometry,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            catalog=catalog,
            interactions=interactions,
            until=until,
            training=training,
        )
        for texts in (samples, samples[:1], [" ".join(samples)]):
            check_parity(model, directory, texts)
    return manifest


def check_parity(model: Anthem, directory: Path, texts: Sequence[str]) -> float:
    """The largest difference between ONNX Runtime and torch on ``texts``, over each output's largest value or 1.

    Explanations are compared on some of the texts, as queries for the titles at the other end.

    Raises:
        ParityError: it exceeds ``TOLERANCE`` and ten times what torch in float32 differs from torch in float64 there.
    """
    encoder, precise = TextEncoder(directory), copy.deepcopy(model).double()
    queries, titles = _tensors(encoder.tokenizer.queries(texts)), _tensors(encoder.tokenizer.titles(texts))
    regions = encoder.encode_queries(texts)
    with torch.no_grad():
        (centres, limits), points = model.encode_queries(*queries), model.encode_products(*titles)
        (sure_centres, sure_limits), sure_points = precise.encode_queries(*queries), precise.encode_products(*titles)
    worst = max(
        difference("centres", centres, sure_centres, regions.centres),
        difference("limits", limits, sure_limits, regions.limits),
        difference("points", points, sure_points, encoder.encode_products(texts)),
    )
    explain, explain_precisely = _ExplainGraph(model), _ExplainGraph(precise)
    for query, title in zip(texts[:_EXPLAINED], reversed(texts), strict=False):
        pair = *_tensors(encoder.tokenizer.queries([query])), *_tensors(encoder.tokenizer.titles([title]))
        with torch.no_grad():
            expected, sure = explain(*pair), explain_precisely(*pair)
        found = encoder.explain(query, title)
        for name, reference, certain in zip(EXPLANATION, expected, sure, strict=True):
            worst = max(worst, difference(f"explained {name}", reference, certain, getattr(found, name)))
    return worst


def difference(name: str, expected: Tensor, sure: Tensor, found: NDArray[np.float32] | float) -> float:
    """How far ``found`` is from what torch ``expected``, over the largest value or 1, where float64 is ``sure``.

    Raises:
        ParityError: it exceeds ``TOLERANCE`` and ten times what torch in float32 differs from float64.
    """
    reference = expected.numpy()
    scale = max(1.0, float(np.abs(reference).max()))
    worst = float(np.abs(reference - found).max()) / scale
    allowed = TOLERANCE + _OWN_ERRORS * float(np.abs(reference - sure.numpy()).max()) / scale
    if not worst <= allowed:  # a NaN is a difference too
        raise ParityError(f"{name} of the exported graph differ from the model's by {worst:.2g}, over {allowed:.2g}")
    return worst


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about its own internals and about packages nobody uses off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _tensors(batch: TermBatch) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(batch.features), torch.from_numpy(batch.terms)


def _text(count: int, length: int, *, prefix: str = "") -> dict[str, Tensor]:
    """Example arrays of ``count`` texts; sizes differ, because the exporter would take equal sizes for one size."""
    features = torch.ones(length + 2, length + 1, dtype=torch.int64)
    terms = torch.arange(count * length).reshape(count, length) % len(features)
    return {f"{prefix}features": features, f"{prefix}terms": terms}


def write_graph(
    graph: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    varying: Sequence[int] | None = None,
) -> None:
    """Export ``graph`` for any size of the ``varying`` axes of ``inputs``; by default of all but those of size one."""
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes={
                name: {
                    axis: torch.export.Dim.DYNAMIC
                    for axis, size in enumerate(example.shape)
                    if (size > 1 if varying is None else axis in varying)
                }
                for name, example in inputs.items()
            },
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
