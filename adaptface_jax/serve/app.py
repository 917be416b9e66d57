# SPDX-License-Identifier: Apache-2.0
"""The routes of the page and of the JSON interface, and what guards them.

No request is answered whose Host is not this server (another site may point its own name at this machine: DNS
rebinding) or that comes from another site's page; no other origin may read an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import one_line
from adaptface_jax.data.decode import TooManyPixels
from adaptface_jax.serve.answers import Answers
from adaptface_jax.serve.openapi import DESCRIPTION
from adaptface_jax.serve.page import PAGE, SCRIPT, style
from adaptface_jax.serve.refusal import Refused
from adaptface_jax.serve.uploads import Body, Form

WAITING = 64  # requests being received, waiting or in progress
RETRY_SECONDS = 2
LOCAL = "localhost"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Found = TypeVar("Found")


def application(answers: Answers, names: Collection[str] = (), waiting: int = WAITING) -> ASGIApp:
    """The ASGI application.

    names: its names besides localhost and any IP address. waiting: requests it accepts at once; beyond them it answers
    503 with Retry-After.
    """
    desk = Desk(waiting)

    def embed(form: Form) -> dict[str, Any]:
        images = form.photographs.get("image", [])
        if not images:
            raise Refused(422, "image: no photograph was sent; expected at least one file")
        return answers.embed(images, crops=form.flag("crops"))

    def verify(form: Form) -> dict[str, Any]:
        far, threshold = form.number("far"), form.number("threshold")
        crops = form.flag("crops")
        return answers.verify(form.one("first"), form.one("second"), far=far, threshold=threshold, crops=crops)

    def search(form: Form) -> dict[str, Any]:
        far, threshold = form.number("far"), form.number("threshold")
        top, crops = form.number("top"), form.flag("crops")
        return answers.search(form.one("image"), top=top, far=far, threshold=threshold, crops=crops)

    routes = [
        Route("/", fixed(PAGE, "text/html")),
        Route("/page.css", fixed(style(), "text/css")),
        Route("/page.js", fixed(SCRIPT, "text/javascript")),
        Route("/openapi.json", fixed(to_json(DESCRIPTION, indent=1), "application/json")),
        Route("/about", fixed(to_json(answers.about()), "application/json")),
        Route("/embed", desk.route(embed, ("image",), ("crops",)), methods=["POST"]),
        Route("/verify", desk.route(verify, ("first", "second"), ("far", "threshold", "crops")), methods=["POST"]),
        Route("/search", desk.route(search, ("image",), ("top", "far", "threshold", "crops")), methods=["POST"]),
    ]
    handlers = {Refused: refused, InputError: wrong, HTTPException: unknown, Exception: failed}
    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=desk.open), names)


class Desk:
    """One worker thread, so that one photograph is decoded at a time, and a bounded number of requests for it."""

    def __init__(self, places: int) -> None:
        self._places, self._taken = places, 0
        self._thread = ThreadPoolExecutor(1, "model")

    @contextlib.asynccontextmanager
    async def open(self, app: Starlette) -> AsyncIterator[None]:
        """While the application runs."""
        try:
            yield
        finally:
            self._thread.shutdown(cancel_futures=True)

    def route(
        self, work: Callable[[Form], Any], photographs: Collection[str], texts: Collection[str]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint: takes a form with these names, runs `work` on it in the thread, returns the result as JSON."""

        async def endpoint(request: Request) -> Response:
            body = Body(request.receive, request.headers)
            try:
                with self._place():
                    form = await body.form(photographs, texts)
                    return json_response(await self._work(lambda: work(form)))
            except Refused:
                await body.discard()
                raise

        return endpoint

    @contextlib.contextmanager
    def _place(self) -> Any:
        if self._taken >= self._places:
            raise Refused(503, f"{self._taken} requests are being answered; try again in {RETRY_SECONDS} s")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def _work(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class Guard:
    """ASGI: refuses foreign hosts and origins, and puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, {LOCAL, *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        try:
            if (problem := self._problem(headers)) is not None:
                await Body(receive, headers).discard()
                await problem(scope, receive, send_guarded)
            else:
                await self._app(scope, receive, send_guarded)
        except Exception:  # answered already, by `failed`
            traceback.print_exc()

    def _problem(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._own(host):
            expected = "an IP address, " + " or ".join(sorted(self._names))
            return problem_response(421, f"Host: {host[:80]!a} is not this server; expected {expected}")
        origin = headers.get("origin")
        if origin is not None and _site(origin) != host.lower():
            return problem_response(403, f"Origin: {origin[:80]!a}: pages from other sites are refused")
        return None

    def _own(self, host: str) -> bool:
        """Whether a Host header is ours. IP addresses are accepted: they cannot be rebound."""
        with contextlib.suppress(ValueError):
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
            return True
        return False


def _site(origin: str) -> str | None:
    """The host and port of an Origin header; None where it has no valid form."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # brackets around what is no IPv6 address
        return None


def fixed(text: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint with a fixed answer."""

    async def endpoint(request: Request) -> Response:
        return Response(text, media_type=kind)

    return endpoint


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON."""
    return Response(to_json(value), status, headers, "application/json")


def problem_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Every error has this form: {"error": one line}."""
    return json_response({"error": " ".join(text.split())}, status, headers)


async def refused(request: Request, error: Exception) -> Response:
    """A request that asks for something missing, or sends too much."""
    assert isinstance(error, Refused)
    headers = {"retry-after": str(RETRY_SECONDS)} if error.status == 503 else None
    return problem_response(error.status, str(error), headers)


async def wrong(request: Request, error: Exception) -> Response:
    """A photograph that cannot be read or shows no face, an unknown threshold."""
    return problem_response(413 if isinstance(error, TooManyPixels) else 422, str(error))


async def unknown(request: Request, error: Exception) -> Response:
    """An unknown path or method."""
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path[:80]!a}: {error.detail}; /openapi.json lists what exists"
    return problem_response(error.status_code, text, error.headers)


async def failed(request: Request, error: Exception) -> Response:
    """A bug of ours; the traceback goes to the terminal."""
    return problem_response(500, f"the server failed ({one_line(error)}); its terminal shows more")
