"""HPL, its base losses and plainer ways to compare photographs: ``python -m benchmarks.image --help``.

A *cell* is one system on one surface with one seed. Every cell is trained on the same pictures for the same number of
steps, its best state chosen on dev pictures, and scored on pictures it never saw: of the classes it learnt, and of
classes that were held out.
"""
