"""The working folder: what is saved goes to real files, and what happens to the files goes into the log.

`disk.py` is the folder as a file system that can't be left, `watching.py` tells what changes there, `ignoring.py`
what of it is versioned, `state.py` remembers what lies there. `to_disk.py` is the way from the log to the disk,
`comparing.py` and `to_log.py` the way back; `working.py` lets them take turns and is what the others use.
"""
