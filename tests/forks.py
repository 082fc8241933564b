"""Work in a forked child, and its end."""

from __future__ import annotations

import os
import signal


def in_child(work, seconds=20):
    """Run `work` in a forked child; fail with its error, or if it does not end in time."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - another process
        code = 1
        try:
            signal.alarm(seconds)
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001
            os.write(writer, repr(error).encode()[:4000])
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, message
