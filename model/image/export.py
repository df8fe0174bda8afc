"""From a trained image network to an image bundle: an ONNX graph, checked against torch before anyone sees it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.export import difference, write_graph
from model.image import bundle
from model.image.runtime import ImageEncoder
from model.image.tree import Tree
from model.manifests import appearing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.image.bundle import Manifest
    from model.image.network import ImageNetwork
    from model.image.proxies import HierarchicalProxies


def export(
    network: ImageNetwork,
    proxies: HierarchicalProxies,
    tree: Tree,
    out: Path,
    *,
    catalog: str,
    training: dict[str, object],
    samples: NDArray[np.uint8],
) -> Manifest:
    """Write ``network`` as an image bundle at ``out``, which must not exist, in one rename.

    ``tree`` names the classes; a learnt one takes its place. ``samples`` (N, H, W, 3) are pictures to compare both
    runtimes on, all together and the first alone.

    Raises:
        ParityError: ONNX Runtime and torch differ by more than float32 leaves.
        FileExistsError: there is something at ``out``.
    """
    config = network.config
    with appearing(out) as directory:
        network.eval()
        example = torch.zeros(2, config.height, config.width, 3, dtype=torch.uint8)
        write_graph(network, directory / bundle.ENCODER, {"pictures": example}, ["point"], varying=(0,))
        bundle.write_classes(directory, named(proxies, tree), proxies.proxies().detach().numpy())
        manifest = bundle.seal(
            directory,
            surface=config.surface,
            size=(config.height, config.width),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            catalog=catalog,
            training=training,
        )
        for pictures in (samples, samples[:1]):
            check_parity(network, directory, pictures)
    return manifest


def check_parity(network: ImageNetwork, directory: Path, pictures: NDArray[np.uint8]) -> float:
    """The largest difference between ONNX Runtime and torch on ``pictures`` (N, H, W, 3), over the largest value or 1.

    Raises:
        ParityError: it exceeds what float32 leaves.
    """
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures))
        sure = copy.deepcopy(network).double()(torch.from_numpy(pictures))
    return difference("points", expected, sure, ImageEncoder(directory).encode(pictures))


def named(proxies: HierarchicalProxies, tree: Tree) -> Tree:
    """The tree that ``proxies`` hang on: ``tree``'s classes, with learnt nodes called by their classes."""
    if proxies.hierarchy.tree == "given":
        return tree
    nodes = proxies.nodes.numpy().astype(np.int64)
    names = [tree.names[0]]
    for level in nodes:
        held = [[tree.names[0][row] for row in np.flatnonzero(level == node)] for node in range(level.max() + 1)]
        names.append(tuple(" + ".join(classes) for classes in held))
    return Tree(tuple(names), nodes)
