"""Do regions mean something? What queries' hyperboloids hold, of judged products and of the whole catalogue.

Shares are of judged pairs: *relevant* is grade 4 up, *irrelevant* grade 2 down. AUC is the chance that of a relevant
and an irrelevant pair, drawn from all queries at once, the relevant one is nearer; it is given for d_out, for the plain
distance to the centre and for the containment distance, and within queries too. Generality is compared with the number
of titles that hold all the query's words. All of it goes through the searcher that serves.

    python -m benchmarks.regions --data folder --index var/index --split test
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata, spearmanr

from index.expression import And, Text
from index.root import current
from index.search import EmptyTextError, Searcher
from model import hyperboloid, lorentz
from model.catalog import Rejects, read_judgments, searchable_text, split_of
from model.metrics import RELEVANT_GRADE, grade
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

IRRELEVANT_GRADE = 2
TOP = 20
PAIRS = 200


def main() -> None:
    """Measure one index and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    asked = parser.parse_args()
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for judgment in read_judgments(asked.data / "judgments.csv.gz", Rejects()):
        if split_of(judgment.query) == asked.split:
            judged[judgment.query][judgment.product_id] = grade(judgment.relevance)
    searcher = Searcher.open(current(asked.index))
    try:
        print(json.dumps({"split": asked.split, **regions(searcher, judged)}, indent=2))
    finally:
        searcher.close()


@dataclass(slots=True)
class _Tally:
    """What is gathered query by query."""

    grades: list[NDArray[np.int64]] = field(default_factory=list)
    contained: list[NDArray[np.bool_]] = field(default_factory=list)
    distances: dict[str, list[NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    held: list[int] = field(default_factory=list)
    generality: list[float] = field(default_factory=list)
    titles: list[int] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    mixed: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Of queries whose first hits lie on both sides: relevant and all inside, relevant and all outside."""


def regions(searcher: Searcher, judged: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Everything about the regions of the ``judged`` queries (grade by product id)."""
    tally = _Tally()
    holding = _postings(searcher)
    for query in sorted(judged):
        try:
            _add(tally, searcher, query, judged[query], holding)
        except EmptyTextError:
            continue
    grades, contained = np.concatenate(tally.grades), np.concatenate(tally.contained)
    relevant, irrelevant = grades >= RELEVANT_GRADE, grades <= IRRELEVANT_GRADE
    shares = np.array(tally.held) / searcher.size
    titles, generality = np.array(tally.titles), np.array(tally.generality)
    mixed = np.array(tally.mixed).reshape(-1, 4).sum(axis=0)
    c = searcher.snapshot.manifest.geometry.curvature
    radii = lorentz.radius(np.asarray(searcher.snapshot.points), c=c)
    return {
        "queries": len(tally.held),
        "contained": {
            "relevant": float(contained[relevant].mean()),
            "irrelevant": float(contained[irrelevant].mean()),
            "by_grade": {str(g): float(contained[grades == g].mean()) for g in np.unique(grades)},
        },
        "share_of_catalogue": {
            "mean": float(shares.mean()), "median": float(np.median(shares)), "p90": float(np.percentile(shares, 90)),
        },
        "auc": {name: _auc(np.concatenate(parts), relevant, irrelevant) for name, parts in tally.distances.items()},
        "auc_within_queries": {name: _auc_within(parts, tally.grades) for name, parts in tally.distances.items()},
        "generality": {
            "spearman": float(spearmanr(generality, titles).statistic),
            "spearman_where_titles_hold_all": float(spearmanr(generality[titles > 0], titles[titles > 0]).statistic),
            "queries_that_no_title_holds": int((titles == 0).sum()),
        },
        "radius": {
            "products": _percentiles(radii),
            "queries": _percentiles(np.array(tally.radii)),
            "spearman_with_titles": float(spearmanr(tally.radii, titles).statistic),
        },
        "top": {
            "depth": TOP,
            "queries": len(tally.mixed),
            "relevant_of_contained": float(mixed[0] / max(1, mixed[1])),
            "relevant_of_others": float(mixed[2] / max(1, mixed[3])),
        },
        "conjunction": _conjunction(searcher),
    }  # fmt: skip


def _add(
    tally: _Tally,
    searcher: Searcher,
    query: str,
    graded: Mapping[str, int],
    holding: Mapping[str, set[int]],
) -> None:
    result = searcher.search(query, limit=TOP, mode="hyperboloid")
    centre, limit = _hyperboloid(searcher, query)
    c = searcher.snapshot.manifest.geometry.curvature
    rows = {searcher.snapshot.documents.row(product_id): g for product_id, g in graded.items()}
    rows.pop(None, None)
    x = searcher.snapshot.points[list(rows)]
    outside, _ = hyperboloid.containment_parts(x, centre, limit, c=c)
    tally.grades.append(np.array(list(rows.values())))
    tally.contained.append(hyperboloid.contains(x, centre, limit))
    tally.distances["d_out"].append(outside)
    tally.distances["distance_to_centre"].append(lorentz.dist(x, centre, c=c))
    gamma = searcher.snapshot.manifest.geometry.gamma
    tally.distances["containment"].append(hyperboloid.containment(x, centre, limit, c=c, gamma=gamma))
    tally.held.append(result.total.value)
    tally.generality.append(float(hyperboloid.log_volume(limit)))
    postings = [holding.get(word, set()) for word in words(query)]
    tally.titles.append(len(set.intersection(*postings)))
    tally.radii.append(float(lorentz.radius(centre, c=c)))
    inside = [graded.get(hit.product.product_id, 0) >= RELEVANT_GRADE for hit in result.hits if hit.contained]
    others = [graded.get(hit.product.product_id, 0) >= RELEVANT_GRADE for hit in result.hits if not hit.contained]
    if inside and others:
        tally.mixed.append((sum(inside), len(inside), sum(others), len(others)))


def _hyperboloid(searcher: Searcher, query: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found = searcher.channels.encoder.encode_queries([searcher.channels.read(query)])
    return found.centres[0], found.limits[0]


def _postings(searcher: Searcher) -> dict[str, set[int]]:
    """Rows of the products that have a word, by word."""
    found: dict[str, set[int]] = defaultdict(set)
    for row in range(searcher.size):
        for word in words(searchable_text(searcher.snapshot.documents.product(row))):
            found[word].add(row)
    return found


def _conjunction(searcher: Searcher) -> dict[str, Any]:
    """Of the products that A AND B contains, how many A and B contain, for two words of a title each time."""
    chance = random.Random(0)
    checked = broken = 0
    for _ in range(PAIRS):
        # of one title, so that something may well lie in both; of two queries hardly anything does
        title = searcher.snapshot.documents.product(chance.randrange(searcher.size)).title
        a, b = chance.choices(words(title), k=2)
        both = searcher.search(And((Text(a), Text(b))), limit=TOP, mode="hyperboloid").hits
        rows = [searcher.snapshot.documents.row(hit.product.product_id) for hit in both if hit.contained]
        checked += len(rows)
        for alone in (a, b):
            centre, limit = _hyperboloid(searcher, alone)
            broken += int((~hyperboloid.contains(searcher.snapshot.points[rows], centre, limit)).sum())
    return {"pairs": PAIRS, "contained_by_both": checked, "not_contained_by_one": broken}


def _auc(values: NDArray[np.float64], relevant: NDArray[np.bool_], irrelevant: NDArray[np.bool_]) -> float:
    near, far = values[relevant], values[irrelevant]
    ranks = rankdata(np.concatenate([near, far]))[: len(near)].sum()
    return float(1.0 - (ranks - len(near) * (len(near) + 1) / 2) / (len(near) * len(far)))


def _auc_within(values: list[NDArray[np.float64]], grades: list[NDArray[np.int64]]) -> float:
    pairs = [(v, g >= RELEVANT_GRADE, g <= IRRELEVANT_GRADE) for v, g in zip(values, grades, strict=True)]
    return float(np.mean([_auc(v, near, far) for v, near, far in pairs if near.any() and far.any()]))


def _percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (1, 5, 50, 95, 99)}


if __name__ == "__main__":
    main()
