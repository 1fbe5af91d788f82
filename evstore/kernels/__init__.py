"""Kernels: what can be started, what runs, and the pump between a kernel and its clients.

From the wire inwards: `wire.py` and `messages.py` are pure framing (websocket and ZMQ),
`sockets.py` is a ZMQ socket on the event loop, `outbox.py` keeps what a client has not taken
yet, `client.py` is one session's end and `pump.py` the hub between a kernel and all of them.
`process.py` starts and stops a process through jupyter_client, `kernel.py` is one kernel's
life, `manager.py` all of them. Nothing here knows of files' histories, or of HTTP.
"""
