"""A cache in a cluster: keys, envelopes and freshness. All of it pure, so far."""
