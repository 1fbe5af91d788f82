"""The working folder: what is on the disk, and what of it has versions."""
