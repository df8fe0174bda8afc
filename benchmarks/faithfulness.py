"""Are attention grids faithful? Take title terms away and see what it costs.

For every hit, the title is encoded again without the term that the grid rates highest, and without the one that it
rates lowest, by the sums of their columns. The grid is right about the hit if losing the highest moves the product
further from the query's hyperboloid than losing the lowest does; a tie is wrong. Hits are drawn among the first ten of
held-out queries, one a query; titles of fewer than three terms are passed over.

    python -m benchmarks.faithfulness --data folder --index var/index --split test
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.explain import explain
from index.root import current
from index.search import EmptyTextError, Searcher
from model import hyperboloid
from model.catalog import Rejects, read_judgments, split_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from index.explain import Explanation
    from model.runtime import TextEncoder

HITS = 200
DEPTH = 10
MIN_TERMS = 3


def main() -> None:
    """Measure one index and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--hits", type=int, default=HITS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    judgments = read_judgments(asked.data / "judgments.csv.gz", Rejects())
    queries = {judgment.query for judgment in judgments if split_of(judgment.query) == asked.split}
    searcher = Searcher.open(current(asked.index))
    try:
        report = faithfulness(searcher, queries, hits=asked.hits, seed=asked.seed)
    finally:
        searcher.close()
    print(json.dumps({"split": asked.split, **report}, indent=2))


def faithfulness(searcher: Searcher, queries: Iterable[str], *, hits: int = HITS, seed: int = 0) -> dict[str, Any]:
    """The share of ``hits`` on which the grid is right, and what either removal costs, by the median.

    ``title_attention`` is the same share if terms are rated by the title's attention alone, as a yardstick.

    Raises:
        ValueError: the queries yield fewer hits, or the terms are not words, which no title can be cut by.
    """
    chance = random.Random(seed)
    order = sorted(queries)
    chance.shuffle(order)
    drops: list[tuple[float, float]] = []
    by_attention = 0
    for query in order:
        if len(drops) == hits:
            break
        explanation = _drawn_hit(searcher, query, chance)
        if explanation is None or len(explanation.title_terms) < MIN_TERMS:
            continue
        costs = _removal_costs(searcher, explanation)
        drops.append(_at_extremes([term.answers for term in explanation.title_terms], costs))
        highest, lowest = _at_extremes([term.weight for term in explanation.title_terms], costs)
        by_attention += highest > lowest
    if len(drops) < hits:
        raise ValueError(f"{len(order)} queries yield {len(drops)} hits with titles of {MIN_TERMS} terms, not {hits}")
    return {
        "snapshot": searcher.snapshot_id,
        "model": searcher.model_version,
        "seed": seed,
        "hits": hits,
        "share": sum(highest > lowest for highest, lowest in drops) / hits,
        "title_attention": by_attention / hits,
        "median_cost_of_highest": statistics.median(highest for highest, _ in drops),
        "median_cost_of_lowest": statistics.median(lowest for _, lowest in drops),
    }


def _drawn_hit(searcher: Searcher, query: str, chance: random.Random) -> Explanation | None:
    """The explanation of one of the query's first hits; None if there is nothing in the query to search by."""
    try:
        found = searcher.search(query, limit=DEPTH, mode="hyperboloid").hits
    except EmptyTextError:
        return None
    return explain(searcher, query, chance.choice(found).product.product_id)


def _removal_costs(searcher: Searcher, explanation: Explanation) -> list[float]:
    """How much further from the query's hyperboloid the product lies without each of its title's terms."""
    encoder = searcher.channels.encoder
    terms = [term.term for term in explanation.title_terms]
    titles = [_joined(encoder, terms[:place] + terms[place + 1 :]) for place in range(len(terms))]
    regions = encoder.encode_queries([explanation.read])
    geometry = encoder.manifest.geometry
    distances = hyperboloid.containment(
        encoder.encode_products([*titles, _joined(encoder, terms)]),
        regions.centres[0],
        regions.limits[0],
        c=geometry.curvature,
        gamma=geometry.gamma,
    ).tolist()
    return [distance - distances[-1] for distance in distances[:-1]]


def _joined(encoder: TextEncoder, terms: Sequence[str]) -> str:
    title = " ".join(terms)
    if encoder.tokenizer.terms(title) != list(terms):
        raise ValueError(f"the title {title!r} is not read as the terms it was made of; a bundle of words is needed")
    return title


def _at_extremes(ratings: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """The costs of the terms rated highest and lowest."""
    places = range(len(ratings))
    return costs[max(places, key=ratings.__getitem__)], costs[min(places, key=ratings.__getitem__)]


if __name__ == "__main__":
    main()
