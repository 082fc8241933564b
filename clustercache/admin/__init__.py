"""Build a cluster, check it and look into it."""
