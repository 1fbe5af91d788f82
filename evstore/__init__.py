"""evstore: a Jupyter server on an append-only event log."""
