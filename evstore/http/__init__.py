"""The HTTP surface: everything that knows aiohttp, and nothing else does."""
