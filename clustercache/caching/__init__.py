"""A cache in a cluster: keys, envelopes, freshness, and what is kept near."""
