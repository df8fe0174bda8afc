"""The generated shop: products, queries with known relevance, and shoppers' behaviour, all from one seed.

:class:`~model.sample.shop.Shop` makes it and :mod:`~model.sample.files` writes it. One seed and size give the
same bytes everywhere.
"""
