"""ANTHEM, its twins and the field's baselines on the same public data: ``python -m benchmarks.compare --help``.

A *cell* is one system with one seed, and with one dimension where dimensions are swept. Every cell is trained on the
train queries within the same budget, its best state chosen on dev queries, and scored on the test queries once.
"""
