"""The parent of a web server, and its end. Standard library only; run by its path.

A prefork server's workers outlive a master that was killed, so all are ended as the process group
that they are: at EOF of stdin, which is when the tests close it, or are gone, however they went.

    keeper.py GRACE PROGRAM ARGUMENT...
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    grace, *words = sys.argv[1:]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = os.pidfd_open(server.pid)
    select.select([0, ended], [], [])
    # It is not reaped yet, so nobody else can have got its number.
    os.kill(server.pid, signal.SIGTERM)
    select.select([ended], [], [], float(grace))
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    main()
