"""Reproducible, verified and locked PyTorch environments from one compatibility matrix."""

__version__ = "0.1.0"

PATIENCE_WITH_DNS = {"RES_OPTIONS": "timeout:1 attempts:4"}
"""For processes that ask for many addresses at once: some answers get lost, and glibc waits 5 s for each."""
