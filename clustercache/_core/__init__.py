"""What the client knows and decides, with no socket, thread, loop, clock or randomness inside.

Everything here is a pure function of its arguments or an immutable value. The two shells
(`_sync`, `_async`) do the I/O and hold no policy of their own.
"""
