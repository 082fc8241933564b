"""The blocking shell: sockets, threads and waiting. It decides nothing; see `_core.decisions`."""
