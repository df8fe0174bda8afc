"""The tables of the docs, a module for each report."""
