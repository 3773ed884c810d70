"""Benchmarks, not installed with the package; see ``benchmarks/README.md``."""
