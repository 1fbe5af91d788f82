"""Files in and out: a folder into the log, any moment of it back onto the disk, and copies of the log itself."""
