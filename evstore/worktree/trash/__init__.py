"""The trash of the served folder: where deleted files wait, and how they come back."""
