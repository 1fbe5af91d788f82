"""Notebooks as other formats, by nbconvert, in processes of its own.

nbconvert keeps Python busy for seconds, can hang on what a notebook holds, and starts other programs; so it
works behind a pipe, under limits of time and memory, and is killed with all that it started when it
goes past them, when nobody waits for the result any more, or when the server stops. Nothing of
a notebook is executed.

    converter.py   the service: who converts next, how long, how many at once      process.py   one worker, from outside
    worker.py      the same worker, from inside: a job comes, an answer goes       frames.py    how both talk
    exporting.py   the one place that calls nbconvert            pictures.py  those that lie beside the notebook
"""
