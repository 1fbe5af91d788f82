"""The served folder as a file system that can't be left. It knows the disk, and nothing of the log."""
