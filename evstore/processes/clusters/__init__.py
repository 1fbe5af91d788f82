"""Clusters of IPython engines, by way of ipyparallel (extra `clusters`). Knows nothing of HTTP."""
