"""What is measured, how, and against whom; see ``benchmarks/README.md``. Not installed."""
