"""Encoding without torch: ONNX Runtime sessions over an encoder bundle."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from model import bundle
from model.grid import Attention
from model.hyperboloid import Hyperboloids
from model.text import TermBatch, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PRODUCT_BATCH = 256
EXPLANATION = ("pairs", "title_weights", "temperature")
"""What the graph that explains gives, by the names of :class:`model.grid.Attention`."""
_ON_GPU = "CUDAExecutionProvider"

log = logging.getLogger(__name__)

ort.disable_telemetry_events()


class EmptyTextError(ValueError):
    """A text with no letter or digit in it: there is nothing to encode."""


class TextEncoder:
    """Queries to hyperboloids and product titles to points; safe to call from several threads.

    It runs on the GPU of the number ``gpu``, if that is given and ONNX Runtime can use it; else, with a warning, on the
    CPU.

    ``manifest`` is that of the bundle if whoever asks has just read and checked it.

    Raises:
        bundle.BundleError: the directory is not a sound bundle.
    """

    def __init__(
        self, directory: Path, *, threads: int = 1, gpu: int | None = None, manifest: bundle.Manifest | None = None
    ) -> None:
        self.manifest = manifest or bundle.load_manifest(directory)
        self.tokenizer = Tokenizer.load(directory / bundle.TOKENIZER)
        loaded = sessions(directory, (bundle.QUERY_ENCODER, bundle.PRODUCT_ENCODER, bundle.EXPLAINER), threads, gpu)
        self._query, self._product, self._explainer = loaded

    def encode_queries(self, texts: Sequence[str]) -> Hyperboloids:
        """Encode ``texts`` (B) as hyperboloids: centres and limits (B, d) float32.

        Raises:
            EmptyTextError: a text has no letter or digit.
        """
        centres, limits = self._query.run(("centre", "limit"), _feed(self.tokenizer.queries(texts), texts))
        return Hyperboloids(centres=centres, limits=limits)

    def encode_products(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode ``texts`` (N) as points (N, d) float32, ``PRODUCT_BATCH`` at a time, like lengths together.

        Raises:
            EmptyTextError: a text has no letter or digit.
        """
        points = np.empty((len(texts), self.manifest.geometry.dim), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(texts), PRODUCT_BATCH):
            rows = by_length[start : start + PRODUCT_BATCH]
            batch = [texts[i] for i in rows]
            (points[rows],) = self._product.run(("point",), _feed(self.tokenizer.titles(batch), batch))
        return points

    def explain(self, query: str, title: str) -> Attention:
        """What the towers attend to in ``query`` and ``title``, cut to as many terms as are encoded.

        Raises:
            EmptyTextError: a text has no letter or digit.
        """
        vocabulary = self.tokenizer.vocabulary
        asked = _feed(self.tokenizer.queries([query]), [query])
        offered = _feed(self.tokenizer.titles([title]), [title])
        both = {f"query_{name}": array for name, array in asked.items()}
        both |= {f"title_{name}": array for name, array in offered.items()}
        pairs, title_weights, temperature = self._explainer.run(EXPLANATION, both)
        (without,) = self._product.run(("point",), {**offered, "terms": _each_left_out(offered["terms"])})
        # every term as a query of its own
        centres, limits = self._query.run(("centre", "limit"), {**asked, "terms": asked["terms"].T})
        return Attention(
            query_terms=tuple(self.tokenizer.terms(query)[: vocabulary.max_query_terms]),
            title_terms=tuple(self.tokenizer.terms(title)[: vocabulary.max_title_terms]),
            pairs=pairs,
            centres=centres,
            limits=limits,
            title_weights=title_weights,
            without=without,
            temperature=float(temperature),
        )


def _feed(batch: TermBatch, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    empty = np.flatnonzero(batch.terms[:, 0] == 0)
    if len(empty):
        raise EmptyTextError(f"text {texts[int(empty[0])]!r} has no letter or digit to search by")
    return {"features": batch.features, "terms": batch.terms}


def _each_left_out(terms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The terms (1, M) of one title without each of them in turn, (M, M − 1); a single term stays."""
    count = terms.shape[1]
    if count == 1:
        return terms
    kept = ~np.eye(count, dtype=np.bool_)
    return np.broadcast_to(terms, (count, count))[kept].reshape(count, count - 1)


def sessions(directory: Path, names: Sequence[str], threads: int, gpu: int | None) -> list[ort.InferenceSession]:
    """A session for each graph, all on the GPU, or all on the CPU where one was asked for in vain."""
    on_cpu = ("CPUExecutionProvider",)
    if gpu is None:
        return [_session(directory / name, threads, on_cpu) for name in names]
    if _ON_GPU not in ort.get_available_providers():
        reason = f"ONNX Runtime {ort.__version__} has only {', '.join(ort.get_available_providers())}"
    else:
        # what goes wrong is printed, and standard output is for answers
        with redirect_stdout(StringIO()) as printed:
            ort.preload_dlls()  # CUDA and cuDNN from where pip put them
            placed = [_session(directory / name, threads, ((_ON_GPU, {"device_id": gpu}), *on_cpu)) for name in names]
        if all(session.get_providers()[0] == _ON_GPU for session in placed):
            return placed
        reason = f"{_ON_GPU} could not be set up. {printed.getvalue()}"
    log.warning("encoders run on the cpu, not on cuda:%d as asked: %s", gpu, reason)
    return [_session(directory / name, threads, on_cpu) for name in names]


def _session(path: Path, threads: int, providers: Sequence[object]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Shapes vary with every query: the arena and the memory pattern would keep a peak for each of them.
    options.enable_mem_pattern = False
    return ort.InferenceSession(path, options, providers=list(providers))
