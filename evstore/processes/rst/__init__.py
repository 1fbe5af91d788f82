"""reStructuredText -> HTML, with docutils (extra `rst`) in a process of its own, which ends with the text.

docutils is made to read files and run programs for those who write the text; here they may be anybody. So what
reaches outside is switched off, and a text that would take for ever, or all memory, ends with its process.

    renderer.py   the service        worker.py   what the process does
"""
