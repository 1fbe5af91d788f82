"""A git repository's history as events, and the log's history as a git repository."""
