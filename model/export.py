"""From a trained model to an encoder bundle: ONNX graphs, checked against torch before anyone sees them."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model import bundle
from model.runtime import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.bundle import Manifest
    from model.encoders import Anthem
    from model.text import TermBatch, Tokenizer

TOLERANCE = 1e-5
_OPSET = 20


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


def export(
    model: Anthem,
    tokenizer: Tokenizer,
    out: Path,
    *,
    catalog: str,
    training: dict[str, object],
    samples: Sequence[str],
) -> Manifest:
    """Write ``model`` as an encoder bundle at ``out``, which must not exist, in one rename.

    ``samples`` are texts to compare both runtimes on: all in one batch, the first alone, and all as one long text.

    Raises:
        ParityError: ONNX Runtime and torch differ by more than ``TOLERANCE`` of a vector's largest coordinate.
        FileExistsError: there is something at ``out``.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists already")
    out.parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        model.eval()
        (directory / bundle.TOKENIZER).write_text(tokenizer.vocabulary.model_dump_json(), encoding="utf-8")
        _export(_QueryGraph(model), directory / bundle.QUERY_ENCODER, ["centre", "limit"])
        _export(_ProductGraph(model), directory / bundle.PRODUCT_ENCODER, ["point"])
        geometry = bundle.Geometry(
            dim=model.config.dim, curvature=model.config.curvature, gamma=float(model.gamma.detach())
        )
        manifest = bundle.seal(
            directory,
            geometry=geometry,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            catalog=catalog,
            training=training,
        )
        for texts in (samples, samples[:1], [" ".join(samples)]):
            check_parity(model, directory, texts)
        directory.chmod(0o755)
        directory.rename(out)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return manifest


def check_parity(model: Anthem, directory: Path, texts: Sequence[str]) -> float:
    """The largest difference between ONNX Runtime and torch on ``texts``, over each output's largest value or 1.

    Raises:
        ParityError: it exceeds ``TOLERANCE``.
    """
    encoder = TextEncoder(directory)
    with torch.no_grad():
        centres, limits = model.encode_queries(*_tensors(encoder.tokenizer.queries(texts)))
        points = model.encode_products(*_tensors(encoder.tokenizer.titles(texts)))
    regions = encoder.encode_queries(texts)
    pairs = {
        "centres": (centres, regions.centres),
        "limits": (limits, regions.limits),
        "points": (points, encoder.encode_products(texts)),
    }
    worst = 0.0
    for name, (expected, found) in pairs.items():
        reference = expected.numpy()
        difference = float(np.abs(reference - found).max() / max(1.0, float(np.abs(reference).max())))
        if not difference <= TOLERANCE:  # a NaN is a difference too
            raise ParityError(
                f"{name} of the exported graph differ from the model's by {difference:.2g}, over {TOLERANCE:g}"
            )
        worst = max(worst, difference)
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


def _export(graph: nn.Module, path: Path, outputs: list[str]) -> None:
    # Sizes that differ and exceed one: the exporter would take a one for a constant, and equal sizes for one size.
    example = (torch.ones(5, 4, dtype=torch.int64), torch.arange(6).reshape(2, 3) % 5)
    dynamic = torch.export.Dim.DYNAMIC
    with _quiet_exporter():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            input_names=["features", "terms"],
            output_names=outputs,
            dynamic_shapes={"features": {0: dynamic, 1: dynamic}, "terms": {0: dynamic, 1: dynamic}},
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
