"""SQLite as the engine: one writer connection, many reader connections."""
