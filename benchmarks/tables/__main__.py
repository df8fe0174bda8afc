"""The tables that README and docs quote, made from the JSON beside this folder: ``python -m benchmarks.tables``.

Rewrites what stands between ``<!-- table NAME -->`` and ``<!-- end -->`` in each document.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.tables import behaviour, capacity, compare, homedepot, live, overload, pictures, scale

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
TABLES = {
    table.__name__: table
    for table in (
        homedepot.homedepot,
        homedepot.homedepot_asked,
        homedepot.homedepot_regions,
        homedepot.homedepot_robustness,
        homedepot.homedepot_speed,
        scale.scale_sizes,
        scale.scale_rivals,
        scale.scale_filters,
        scale.scale_whole,
        scale.scale_asked,
        compare.compare_rank,
        compare.compare_retrieve,
        compare.compare_tuning,
        compare.compare_dims,
        compare.compare_flipkart,
        live.live,
        live.live_asked,
        live.survival,
        capacity.capacity,
        capacity.capacity_shares,
        capacity.capacity_asked,
        capacity.soak,
        capacity.soak_asked,
        capacity.fuzz,
        capacity.fuzz_told,
        overload.overload,
        overload.overload_asked,
        behaviour.behaviour_bestbuy,
        behaviour.behaviour_shop,
        behaviour.behaviour_gains,
        behaviour.behaviour_curves,
        behaviour.behaviour_baskets,
        behaviour.behaviour_asked,
        pictures.image_seen,
        pictures.image_unseen,
        pictures.image_gains,
        pictures.image_tuning,
        pictures.photographs,
        pictures.photographs_asked,
    )
}


def main() -> None:
    """Bring every table up to date."""
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """``text`` with every marked table made anew."""
    return re.sub(
        r"<!-- table (\w+) -->\n.*?<!-- end -->",
        lambda match: f"<!-- table {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    main()
