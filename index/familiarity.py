"""Whether an encoder bundle and a catalogue belong together: whether it has learnt the catalogue's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.text import trigrams, words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.catalog import Product
    from model.runtime import TextEncoder
    from model.text import Vocabulary

_FAMILIAR_SHARE = 0.2


class UnfamiliarError(ValueError):
    """A catalogue whose words an encoder has not learnt."""


def familiar_share(vocabulary: Vocabulary, titles: Sequence[str]) -> float:
    """Share of the terms in ``titles``, words or trigrams as ``vocabulary`` has them, that it has learnt."""
    found = [word for title in titles for word in words(title)]
    if vocabulary.terms == "trigram":
        found = [trigram for word in found for trigram in trigrams(word)]
    known = frozenset(vocabulary.words if vocabulary.terms == "word" else vocabulary.trigrams)
    return sum(term in known for term in found) / max(1, len(found))


def check_familiar(encoder: TextEncoder, products: Sequence[Product], *, catalog: Path, source: str) -> None:
    """Refuse a bundle to which most of the words of ``products``, the first of ``catalog``, are new.

    Raises:
        UnfamiliarError: it is such a bundle; ``source`` is the catalogue's fingerprint, to be named.
    """
    share = familiar_share(encoder.tokenizer.vocabulary, [product.title for product in products])
    if products and share < _FAMILIAR_SHARE:
        raise UnfamiliarError(
            f"encoder {encoder.manifest.version} was trained on the catalogue {encoder.manifest.catalog} and "
            f"knows {share:.0%} of the words of {catalog} ({source}); {_FAMILIAR_SHARE:.0%} are needed: "
            "train one on this catalogue with `saddle train`, or insist with --allow-foreign"
        )
