"""Full load for long, with a failover in each round; see `python -m tests.soak --help`."""
