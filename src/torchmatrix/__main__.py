"""``python -m torchmatrix``."""

from torchmatrix.cli import main

main()
