"""What old clients ask for: the notebook API of IPython 2, and the single-directory server before it.

Sources: the handlers of IPython 0.12 to 2 (`IPython/frontend/html/notebook/handlers.py`, later
`IPython/html/services/notebooks/handlers.py`); jupyter-surface.md A.1 and A.2.

    routes.py   the table        notebooks.py   /api/notebooks        site.py   /notebooks, /<id>, /new
    kernels.py  /kernels         sockets.py     a kernel's websockets  rst.py    /rstservice/render
"""
