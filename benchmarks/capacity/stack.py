"""The search service that most people would write: FastAPI, all-MiniLM-L6-v2 on torch, FAISS' HNSW over unit vectors.

python -m benchmarks.capacity.stack index --data … --work …
python -m benchmarks.capacity.stack serve --data … --work … --port …
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.compare.minilm import SentenceEncoder
from benchmarks.folder import products_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

INDEX = "minilm.faiss"
_BATCH = 256
_DIM, _LINKS, _EF = 384, 32, 64


class Query(BaseModel):
    """What the shopper typed."""

    query: str
    limit: int = 10


class Hit(BaseModel):
    """A product and its cosine."""

    product_id: str
    score: float
    product: dict[str, str]


class Answer(BaseModel):
    """The best first."""

    hits: list[Hit]


def encoded(encoder: SentenceEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors (N, 384)."""
    with torch.inference_mode():
        return np.asarray(encoder(list(texts)).numpy(), dtype=np.float32)


def index_of(data: Path, work: Path) -> faiss.Index:
    """The graph over the vectors of all titles, made once and kept in ``work``."""
    path = work / INDEX
    if not path.exists():
        titles = [row["title"] for row in products_of(data)]
        encoder = SentenceEncoder().eval()
        vectors = np.empty((len(titles), _DIM), dtype=np.float32)
        order = sorted(range(len(titles)), key=lambda i: len(titles[i]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            vectors[rows] = encoded(encoder, [titles[i] for i in rows])
        built = faiss.IndexHNSWFlat(_DIM, _LINKS, faiss.METRIC_INNER_PRODUCT)
        built.add(vectors)
        work.mkdir(parents=True, exist_ok=True)
        faiss.write_index(built, str(path))
    return faiss.read_index(str(path))


def create_app(data: Path, work: Path) -> FastAPI:
    """The service, its index built."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    products = products_of(data)
    encoder = SentenceEncoder().eval()
    index = index_of(data, work)
    index.hnsw.efSearch = _EF
    app = FastAPI()

    @app.post("/search")
    def search(asked: Query) -> Answer:
        scores, rows = index.search(encoded(encoder, [asked.query]), asked.limit)
        hits = [
            Hit(product_id=products[row]["product_id"], score=score, product=products[row])
            for score, row in zip(scores[0].tolist(), rows[0].tolist(), strict=True)
        ]
        return Answer(hits=hits)

    return app


def main() -> None:
    """Encode, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("index", "serve"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "index":
        index_of(asked.data, asked.work)
    else:
        uvicorn.run(create_app(asked.data, asked.work), port=asked.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
