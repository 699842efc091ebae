"""Lockfiles: the model, the record cell.json, input digests, the formats other tools read, and differences."""
