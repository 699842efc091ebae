"""What a bot runs to keep generated files current: ``python -m torchmatrix.upkeep COMMAND [--check]``."""
