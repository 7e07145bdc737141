"""The server of the explorer: on this machine alone, and only for who has its token."""

import secrets
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.server.auth_provider import AuthProvider
from bokeh.server.server import Server
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from flows.explore.explorer import Explorer

ADDRESS = "127.0.0.1"
COOKIE = "phasemill-explorer"
LARGEST_MESSAGE = 64 * 2**20
"""What a browser may send at once [bytes]; a page sends numbers and short texts."""


class Token(AuthProvider):
    """Lets in who brings the token in the address, and then knows the browser by a cookie."""

    def __init__(self, token: str) -> None:
        """Guard with a token."""
        self._token = token
        super().__init__()

    @property
    def get_user(self) -> Callable[[Any], Any]:
        """Name of the user, or a refusal."""

        def user(handler: RequestHandler) -> str:
            name = f"{COOKIE}-{handler.request.host.rpartition(':')[2]}"
            given = handler.get_argument("token", "")
            if given and self._fits(given):
                if not isinstance(handler, WebSocketHandler):
                    handler.set_cookie(name, self._token, httponly=True, samesite="Strict")
                return "operator"
            if not given and self._fits(handler.get_cookie(name, "") or ""):
                return "operator"
            raise HTTPError(403, reason="A wrong or missing token: open the printed address")

        return user

    @property
    def login_url(self) -> str:
        """Is never gone to: who has no token is refused."""
        return "/refused"

    def _fits(self, text: str) -> bool:
        return compare_digest(text.encode(), self._token.encode())


def serve(
    explorer: Explorer, port: int = 0, token: str | None = None, origins: Sequence[str] = ()
) -> tuple[Server, str]:
    """Start a server.

    Parameters
    ----------
    explorer : Explorer
        What it shows.
    port : int
        0 takes a free one.
    token : str, optional
        A new one when absent.
    origins : sequence of str
        ``HOST:PORT`` that a browser may come from beside this server's own, behind a proxy or a
        tunnel that changes the port.

    Returns
    -------
    server : Server
        Started; its loop is to be run.
    address : str
        To open, with the token.

    Raises
    ------
    OSError
        If the port is taken.
    """
    token = token or secrets.token_urlsafe(24)
    server = Server(
        {"/": Application(FunctionHandler(explorer))},
        address=ADDRESS,
        port=port,
        auth_provider=Token(token),
        allow_websocket_origin=[*_own_origins(port), *origins],
        websocket_max_message_size=LARGEST_MESSAGE,
        session_token_expiration=3600,
    )
    if port == 0:
        server._tornado._websocket_origins.update(_own_origins(server.port))
    server.start()
    return server, f"http://{ADDRESS}:{server.port}/?token={token}"


def _own_origins(port: int | None) -> list[str]:
    return [f"{host}:{port}" for host in (ADDRESS, "localhost")] if port else []
