"""The store: commands and queries over the log, its bodies and its projections."""
