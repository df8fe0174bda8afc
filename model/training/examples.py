"""What a shop's files teach: product texts by row, and graded products for every query, split before anyone looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from model.behaviour.clicks import seconds
from model.catalog import Rejects, read_interactions, read_products, searchable_text, split_of
from model.metrics import RELEVANT_GRADE, grade

if TYPE_CHECKING:
    from pathlib import Path

    from model.catalog import Interaction

MAX_GRADE = 6
EVENT_GRADES = {"purchase": 6, "order": 6, "cart": 5, "add_to_cart": 5, "click": RELEVANT_GRADE}

Grades = dict[int, int]
"""Grade 0 to 6 by product row."""


@dataclass(slots=True)
class Examples:
    """A catalogue's texts, and the queries of the train and dev splits with their graded products."""

    product_ids: list[str]
    texts: list[str]
    unmatched: int = 0
    """Interactions with products that the catalogue lacks; they teach nothing."""
    until: float = -inf
    """The time of the last interaction that teaches, in Unix seconds; −∞ where none has one."""
    train: dict[str, Grades] = field(default_factory=dict)
    dev: dict[str, Grades] = field(default_factory=dict)


def read_examples(
    catalog: Path, interactions: Path | None, *, max_reject_share: float
) -> tuple[Examples, dict[str, Rejects]]:
    """Read a catalogue and, if given, interactions with its products; queries of the test split are left alone.

    Raises:
        CatalogError: an unusable file, or more than ``max_reject_share`` of its rows rejected.
    """
    rejects = {"catalog": Rejects()}
    products = [(p.product_id, searchable_text(p)) for p in read_products(catalog, rejects["catalog"])]
    rejects["catalog"].check(max_reject_share)
    examples = Examples(product_ids=[p for p, _ in products], texts=[t for _, t in products])
    if interactions is not None:
        rejects["interactions"] = Rejects()
        rows = {product_id: row for row, product_id in enumerate(examples.product_ids)}
        for interaction in read_interactions(interactions, rejects["interactions"]):
            _learn(examples, rows, interaction)
        rejects["interactions"].check(max_reject_share)
    return examples, rejects


def grade_of(interaction: Interaction) -> int:
    """The grade an interaction speaks for: the judge's where there is one, else that of the event."""
    if interaction.relevance is not None:
        return max(0, min(MAX_GRADE, grade(interaction.relevance)))
    return EVENT_GRADES.get(interaction.event.lower(), RELEVANT_GRADE)


def _learn(examples: Examples, rows: dict[str, int], interaction: Interaction) -> None:
    row = rows.get(interaction.product_id)
    if row is None:
        examples.unmatched += 1
        return
    split = split_of(interaction.query)
    if split == "test":
        return
    graded = (examples.train if split == "train" else examples.dev).setdefault(interaction.query, {})
    graded[row] = max(graded.get(row, 0), grade_of(interaction))
    if (time := seconds(interaction.time)) > examples.until:
        examples.until = time
