"""Reproducible, verified and locked PyTorch environments from one compatibility matrix."""

__version__ = "0.1.0"
