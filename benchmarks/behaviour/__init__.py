"""The behaviour channel beside what it has to beat: ``python -m benchmarks.behaviour --help``."""
