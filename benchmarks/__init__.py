"""What torchmatrix costs, always beside the same thing done by hand in the same run: ``python -m benchmarks``."""
