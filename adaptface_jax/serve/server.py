"""A socket, and the application serving it until a signal stops it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line, shown

CONNECTIONS = 512
GRACE_SECONDS = 10  # for requests in progress when it stops


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0: a free one. Raises InputError if the address does not exist or is in use."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port: {port} is out of range; expected 0..65535, 0 for a free one")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise _unlike(host, error) from None
    result = socket.socket(found[0], socket.SOCK_STREAM)
    try:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        result.bind(found[4])
        result.listen(CONNECTIONS)
    except OSError as error:
        result.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _unlike(host, error) from None
        raise InputError(f"--port: {port}: {one_line(error)}; choose another, or 0 for a free one") from None
    return result


def _unlike(host: str, error: Exception) -> InputError:
    return InputError(f"--host: {shown(host)}: {one_line(error)}; expected an address of this machine")


def address(listener: socket.socket) -> str:
    """Its URL."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_local(listener: socket.socket) -> bool:
    """Whether nobody outside this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


class Server(uvicorn.Server):
    """A signal stops it after the requests in progress; a second one at once. Either is a normal exit."""

    should_exit: bool
    force_exit: bool

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Unlike uvicorn's own, does not raise the signal again at the end."""
        self.force_exit = self.should_exit
        self.should_exit = True
