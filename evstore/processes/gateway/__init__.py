"""Kernels that run at a Jupyter Kernel Gateway or Enterprise Gateway.

`api.py` asks the gateway over HTTP, and says what is wrong when it does not answer; `specs.py` are its
kernelspecs; `process.py` starts and stops kernels there; `connection.py` is the websocket to one of them,
and `requests.py` knows who waits for which answer. For the rest of evstore a remote kernel is a kernel:
all meets the protocols of `evstore.processes.kernels.endpoint`.

There is one websocket for each kernel, whatever the number of clients: a gateway sends all output on
every websocket, and when one breaks, it keeps what the kernel says only if that was the last one.
"""
