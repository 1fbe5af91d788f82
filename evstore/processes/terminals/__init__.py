"""Terminals: shells on pseudo-terminals, each watched by any number of clients. Knows nothing of HTTP."""
