"""What in the served folder has no versions: hidden names, what programs leave behind, what `.evstoreignore` says, what is too large, the log itself."""
