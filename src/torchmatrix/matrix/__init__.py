"""The matrix file: its model, loading, expansion into cells, and selection among them. Pure."""
