"""Helpers for the event loop: background tasks, and a loop on a thread of its own."""
