"""The asyncio client: one multiplexed connection per node, and all of a tick in one write."""
