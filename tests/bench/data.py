"""What is written and read: the keys lie in all slots, and each value tells whose it is."""

from __future__ import annotations

GROUP = 100
KEYS = [f"bench:{number}" for number in range(1000)]
VALUES = {key: f"{key}=".encode().ljust(100, b".") for key in KEYS}
LONG = KEYS * 10
GROUPS = [KEYS[start : start + GROUP] for start in range(0, len(KEYS), GROUP)]
