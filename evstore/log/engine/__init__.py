"""A database, and nothing about events."""
