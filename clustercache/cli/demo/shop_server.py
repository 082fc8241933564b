"""A web server for one WSGI application, of the standard library: a thread for each request."""

from __future__ import annotations

from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from clustercache._core.address import Address


class ShopServer(ThreadingMixIn, WSGIServer):
    """Serves until it is shut down, or its process ends.

    Args:
        address: Where; port 0 takes a free one.
        application: What.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: Address, application: WSGIApplication) -> None:
        super().__init__(address, _Quiet)
        self.set_app(application)

    def server_bind(self) -> None:
        """Listen, without a look into DNS for the machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Leave the screen to the demo."""
