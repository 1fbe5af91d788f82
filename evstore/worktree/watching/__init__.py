"""What tells that something has changed in a folder: inotify, watchfiles, or looking every so often."""
