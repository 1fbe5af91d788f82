"""`python -m evstore`: the same as `evstore`."""

from evstore.cli import main

main(prog_name="evstore")
