"""Event loops for contenders that need one, driven from outside, turn by turn."""

from __future__ import annotations

import asyncio

THREADS = "threads"
LOOPS = ("asyncio", "uvloop")


def _new_loop(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    import uvloop

    return uvloop.new_event_loop()


class LoopSession:
    """A connected client on a loop that runs only while something is asked of it.

    So its tasks in the background cost nothing while others have their turns.

    Args:
        loop: One of `LOOPS`.
        connect: Returns an asynchronous context manager of the client's operations by name, given
            an address.
        address: The (host, port) of one node.
    """

    def __init__(self, loop, connect, address):
        self._runner = asyncio.Runner(loop_factory=lambda: _new_loop(loop))
        try:
            self._runner.get_loop()
            self._operations = self.run(self._open(connect(address)))
        except BaseException:
            self._runner.close()
            raise

    async def _open(self, client):
        self._leave = asyncio.Event()
        operations = asyncio.get_running_loop().create_future()
        # Some clients have to be left by the task that entered them: it waits inside.
        self._inside = asyncio.create_task(self._stay(client, operations))
        await asyncio.wait({self._inside, operations}, return_when=asyncio.FIRST_COMPLETED)
        if self._inside.done():
            await self._inside
        return operations.result()

    async def _stay(self, client, operations):
        async with client as given:
            operations.set_result(given)
            await self._leave.wait()

    def run(self, coroutine):
        """Let the loop run until the coroutine ends, and return its result."""
        return self._runner.run(coroutine)

    def awaitable(self, name):
        """Return the function whose result is awaited for an operation."""
        return self._operations[name]

    def operation(self, name, thread):
        """Return the operation as a function that blocks; the one thread is numbered 0."""
        return lambda *args: self.at_once(name, [args])[0]

    def at_once(self, name, calls):
        """Return the results of an operation for several tuples of arguments, all at once."""

        async def one(args):
            return await self._operations[name](*args)

        async def every():
            return await asyncio.gather(*[one(args) for args in calls])

        return self.run(every())

    async def _close(self):
        self._leave.set()
        await self._inside

    def close(self):
        """Leave the client, and end the loop."""
        with self._runner:
            self.run(self._close())
