"""The working folder: what is saved goes to real files, and what happens to the files goes into the log.

`working.py` is its door. `following.py` and `to_disk.py` are the way from the log to the disk (`catching_up.py` after a crash);
`taking_in.py`, `comparing.py`, `reading.py` and `to_log.py` the way back; in `turns.py` they take turns. `state.py` remembers what lies on the disk. `unversioned/`
serves what has no versions.
"""
