"""Kernels: what can be started, what runs, and the pump between a kernel and its clients.

From the wire inwards: `wire.py` and `messages.py` are pure framing (websocket and ZMQ),
`endpoint.py` says what the rest needs of a kernel, wherever it runs; `zmq_endpoint.py` is that for
local ones, over `sockets.py`, a ZMQ socket on the event loop. `outbox.py` keeps what a client has not
taken yet, `client.py` is one session's end, `pump.py` the hub between a kernel and all of them, and
`warmup.py` gets a new kernel to where none of its output is lost. `process.py` starts and stops
a process through jupyter_client, in a `place.py` on the disk, with what all kernels share in
`runtime.py`; `activity.py` tells what it is doing; `kernel.py` is one kernel's life, `manager.py`
all of them. `specs.py` knows what is installed. Nothing here knows of files' histories, or of HTTP.
"""
