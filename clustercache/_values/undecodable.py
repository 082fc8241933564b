"""What is said of bytes that cannot be read."""

from __future__ import annotations


class Undecodable(ValueError):  # noqa: N818 - a verdict on data; its reader goes on without
    """Say that stored bytes cannot be read. The message tells why, and nothing of the bytes."""
