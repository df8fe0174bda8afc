"""Photographs over HTTP: ``python -m benchmarks.image.serving --index … --out benchmarks/photographs.json``.

A service with a picture channel on one core, asked with photographs of several sizes and kinds, one after the other.
What they show is invented: soft shapes with the grain of a sensor, which costs a decoder what a real one does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.load import Client
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving
from index.root import current
from index.snapshot import BUNDLE, PICTURES
from model.image.runtime import ImageEncoder

PACKAGES = ("saddle", "pillow", "onnxruntime", "faiss-cpu", "numpy", "uvicorn")
_QUALITY = 90
_GRAIN = 6.0
_WARM_UP = 3
PHOTOGRAPHS: tuple[tuple[str, tuple[int, int], str, dict[str, Any]], ...] = (
    ("JPEG, 0.3 megapixels", (640, 480), "JPEG", {}),
    ("JPEG, 1 megapixel", (1152, 864), "JPEG", {}),
    ("PNG, 1 megapixel", (1152, 864), "PNG", {}),
    ("WebP, 1 megapixel", (1152, 864), "WEBP", {}),
    ("JPEG, 12 megapixels", (4000, 3000), "JPEG", {}),
    ("progressive JPEG, 12 megapixels", (4000, 3000), "JPEG", {"progressive": True}),
    ("PNG, 12 megapixels", (4000, 3000), "PNG", {}),
)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="index root with a picture channel")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--requests", type=int, default=60, help="of each kind of photograph")
    asked = parser.parse_args(arguments)
    asking, answering, *_ = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {asking})
    encoding = _encoding(ImageEncoder(current(asked.index) / PICTURES / BUNDLE), asked.requests)
    with serving(*saddle(asked.index), core=answering) as served:
        found = {"encoding_median_ms": encoding, "photographs": asyncio.run(_measured(served, asked.requests))}
    record(
        asked.out,
        "photographs",
        f"python -m benchmarks.image.serving --index … --out … --requests {asked.requests}",
        PACKAGES,
        found,
    )
    print(json.dumps(found, indent=2))


def _encoding(encoder: ImageEncoder, times: int) -> float:
    """Milliseconds from one decoded picture to its point, by itself, on one thread."""
    shape = (1, encoder.manifest.height, encoder.manifest.width, 3)
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    took = []
    for _ in range(_WARM_UP + times):
        started = time.perf_counter()
        encoder.encode(picture)
        took.append(1e3 * (time.perf_counter() - started))
    return round(statistics.median(took[_WARM_UP:]), 2)


async def _measured(served: Served, requests: int) -> list[dict[str, Any]]:
    found = []
    async with Client(served.url) as client:
        for title, size, kind, options in PHOTOGRAPHS:
            data = photograph(size, kind, **options)
            took = []
            for _ in range(_WARM_UP + requests):
                started = time.perf_counter()
                await client.post("/v1/search/image", data, f"image/{kind.lower()}")
                took.append(1e3 * (time.perf_counter() - started))
            took = sorted(took[_WARM_UP:])
            found.append(
                {
                    "photograph": title,
                    "bytes": len(data),
                    "median_ms": round(statistics.median(took), 1),
                    "p95_ms": round(took[int(0.95 * len(took))], 1),
                }
            )
    return found


def photograph(size: tuple[int, int], kind: str, **options: Any) -> bytes:
    """A photograph's file: smooth light with edges in it, and grain."""
    chance = np.random.default_rng(0)
    small = Image.fromarray(chance.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    image = np.asarray(small.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    blocks = Image.fromarray(chance.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.NEAREST)
    mixed = 0.6 * image + 0.4 * np.asarray(blocks) + _GRAIN * chance.standard_normal((size[1], size[0], 1))
    file = BytesIO()
    pixels = Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))
    pixels.save(file, kind, **({"quality": _QUALITY} if kind != "PNG" else {}), **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
