"""The truth: append and read events, store and read bodies."""
