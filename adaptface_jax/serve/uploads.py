# SPDX-License-Identifier: Apache-2.0
"""Uploads: forms with photographs, bounded in bytes, number and time, and never on disk."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, MutableMapping
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from adaptface_jax.core.text import one_line
from adaptface_jax.data.image_formats import HEAD, is_image
from adaptface_jax.serve.refusal import Refused

PHOTOGRAPH_BYTES = 16 << 20
BODY_BYTES = 2 * PHOTOGRAPH_BYTES + (1 << 16)
PHOTOGRAPHS = 16
FIELDS = 8  # other than photographs
SECONDS = 30.0  # for a whole form to arrive

# What is read and discarded after a refusal, so that a client that is still sending sees it.
DISCARDED_BYTES, DISCARDED_SECONDS = 256 << 20, 10.0

KINDS = "JPEG, PNG, WEBP, GIF, TIFF, AVIF or HEIC"
FORM = "multipart/form-data"


@dataclasses.dataclass(frozen=True)
class Form:
    """photographs: name -> the files sent under it, in order. texts: name -> value."""

    photographs: dict[str, list[bytes]]
    texts: dict[str, str]

    def one(self, name: str) -> bytes:
        """The only photograph of a name."""
        found = self.photographs.get(name, [])
        if len(found) != 1:
            raise Refused(422, f"{name}: {len(found)} photographs were sent; expected one file")
        return found[0]

    def number(self, name: str) -> float | None:
        """A finite number; None if it was not sent or is empty."""
        text = self.texts.get(name, "")
        if not text:
            return None
        with contextlib.suppress(ValueError):
            if math.isfinite(value := float(text)):
                return value
        raise Refused(422, f"{name}: {text[:40]!a} is not a number")

    def flag(self, name: str) -> bool:
        """Whether it is "true"; it may be "false" or omitted."""
        text = self.texts.get(name, "false")
        if text not in ("true", "false"):
            raise Refused(422, f"{name}: {text[:40]!a} is unknown; expected true or false")
        return text == "true"


class Body:
    """The body of a request as it arrives. receive: of ASGI."""

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], headers: Headers) -> None:
        self._receive, self._headers = receive, headers
        self._whole = False

    async def form(self, photographs: Collection[str], texts: Collection[str]) -> Form:
        """The parsed form; raises Refused for anything else, and for names that are neither photographs nor texts."""
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM:
            raise Refused(415, f"the body is {ascii(kind[:80]) if kind else 'of no stated type'}; expected {FORM}")
        length = self._headers.get("content-length", "0")
        if length.isdecimal() and int(length) > BODY_BYTES:
            raise self._too_long()
        limits = {"max_files": PHOTOGRAPHS + 1, "max_fields": FIELDS}
        try:
            async with asyncio.timeout(SECONDS):
                items = await InMemory(self._headers, self._bounded(), **limits).parse()
        except TimeoutError:
            raise Refused(408, f"the form did not arrive within {SECONDS:g} s") from None
        except (MultiPartException, FormParserError) as error:
            raise Refused(400, f"the form cannot be read ({one_line(error)})") from None
        try:
            result = Form({}, {})
            for name, value in items.multi_items():
                check_name(name, value, photographs, texts)
                if isinstance(value, UploadFile):
                    result.photographs.setdefault(name, []).append(photograph(await value.read(), name))
                elif name in result.texts:
                    raise Refused(422, f"{name}: was sent twice; expected one value")
                else:
                    result.texts[name] = value
        finally:
            await items.close()
        if sum(map(len, result.photographs.values())) > PHOTOGRAPHS:
            raise Refused(413, f"more than {PHOTOGRAPHS} photographs in one request; send fewer")
        return result

    async def discard(self) -> None:
        """Keep reading for a while, discarding everything."""
        if self._headers.get("expect"):
            return  # the client has sent nothing, and waits to be asked for it
        with contextlib.suppress(TimeoutError, Refused):
            async with asyncio.timeout(DISCARDED_SECONDS):
                left = DISCARDED_BYTES
                async for chunk in self._chunks():
                    left -= len(chunk)
                    if left < 0:
                        break

    async def _bounded(self) -> AsyncGenerator[bytes, None]:
        total = 0
        async for chunk in self._chunks():
            total += len(chunk)
            if total > BODY_BYTES:
                raise self._too_long()
            yield chunk

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        while not self._whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._whole = True
                raise Refused(400, "the connection ended before the form did")
            self._whole = not message.get("more_body", False)
            yield message.get("body", b"")

    def _too_long(self) -> Refused:
        return Refused(413, f"the request is longer than {BODY_BYTES >> 20} MiB; send fewer or smaller photographs")


class InMemory(MultiPartParser):
    """The parser would put large files on disk; `Body` bounds what is in memory. And a form has to be whole."""

    spool_max_size = BODY_BYTES

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: int) -> None:
        super().__init__(headers, self._whole(stream), **limits)
        self._ended = False

    def on_end(self) -> None:
        """The closing boundary."""
        self._ended = True

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._ended:  # the parser would drop the part that is cut off, and return the others
            raise MultiPartException("it ends before its closing boundary")


def check_name(name: str, value: object, photographs: Collection[str], texts: Collection[str]) -> None:
    """Raise Refused for a field that is neither one of the photographs nor one of the texts."""
    kind, known = ("file", photographs) if isinstance(value, UploadFile) else ("field", texts)
    if name not in known:
        raise Refused(422, f"{kind} {name[:40]!a}: is not known; expected {', '.join(known)}")


def photograph(data: bytes, name: str) -> bytes:
    """The bytes of an image in a known format; raises Refused for anything else, by size and first bytes."""
    if not data:
        raise Refused(422, f"{name}: is empty; expected a photograph")
    if len(data) > PHOTOGRAPH_BYTES:
        raise Refused(413, f"{name}: has {len(data):,} bytes; at most {PHOTOGRAPH_BYTES >> 20} MiB are accepted")
    if not is_image(data[:HEAD]):
        raise Refused(415, f"{name}: {len(data):,} bytes of unknown format; expected {KINDS}")
    return data
