"""`python -m clustercache.cli` is `clustercache`."""

from clustercache.cli import main

main()
