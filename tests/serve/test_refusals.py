# SPDX-License-Identifier: Apache-2.0
"""Mistaken or malicious requests: refused with a status and one line, and the next request is answered."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import asked, png

# The extra `serve`, and its client.
pytest.importorskip("starlette")
pytest.importorskip("httpx")

SMALL = png(np.zeros((112, 112, 3), np.uint8))
TYPE = "multipart/form-data"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_cut() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()[:700]


PAIR = {"first": SMALL, "second": SMALL}
BAD = {
    "a bomb": (413, "first: the image claims", {"files": PAIR | {"first": bomb(60_000)}}),
    "a lesser bomb": (413, "second: the image claims", {"files": PAIR | {"second": bomb(9_000)}}),
    "text as JPEG": (
        415,
        "first: 11 bytes of unknown format",
        {"files": PAIR | {"first": ("a.jpg", b"hello world", "image/jpeg")}},
    ),
    "half a JPEG": (422, "second: cannot decode the image", {"files": PAIR | {"second": jpeg_cut()}}),
    "an empty file": (422, "first: is empty", {"files": PAIR | {"first": b""}}),
    "17 MB": (413, "first: has 17,000,000 bytes", {"files": PAIR | {"first": SMALL.ljust(17_000_000, b"\0")}}),
    "100 MB": (413, "longer than 32 MiB", {"files": PAIR | {"first": SMALL.ljust(100_000_000, b"\0")}}),
    "one of two": (422, "second: 0 photographs", {"files": {"first": SMALL}}),
    "two of one": (422, "first: 2 photographs", {"files": [("first", SMALL), ("first", SMALL), ("second", SMALL)]}),
    "another field": (422, "field 'fra'", {"files": PAIR, "data": {"fra": "1e-2"}}),
    "another file": (422, "file 'third'", {"files": PAIR | {"third": SMALL}}),
    "a FAR that is not known": (422, "far: 0.001 is not known for lfw", {"files": PAIR, "data": {"far": "1e-3"}}),
    "a FAR that is none": (422, "far: 'low' is not a number", {"files": PAIR, "data": {"far": "low"}}),
    "not a number": (422, "threshold: 'nan' is not a number", {"files": PAIR, "data": {"threshold": "nan"}}),
    "a threshold out of range": (422, "threshold: 5 is out", {"files": PAIR, "data": {"threshold": "5"}}),
    "two thresholds": (422, "send only one of them", {"files": PAIR, "data": {"far": "1e-2", "threshold": "1"}}),
    "crops=yes": (422, "crops: 'yes' is unknown", {"files": PAIR, "data": {"crops": "yes"}}),
    "JSON": (415, "the body is 'application/json'", {"json": {"first": "a"}}),
    "no body": (415, "of no stated type", {}),
    "a form without a boundary": (400, "boundary", {"content": b"x", "headers": {"content-type": TYPE}}),
    "a torn form": (
        400,
        "the form cannot be read",
        {"content": b"--c\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=b"}},
    ),
    "two values of one": (
        422,
        "far: was sent twice",
        {"files": [*PAIR.items(), ("far", (None, "1e-1")), ("far", (None, "1e-2"))]},
    ),
    "many fields": (400, "Too many fields", {"files": PAIR, "data": {f"f{number}": "" for number in range(99)}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_is_refused_in_one_line(ask, kind):
    status, said, options = BAD[kind]
    answer = ask("POST", "/verify", **options)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"] and said in answer.json()["error"]
    assert "\n" not in answer.json()["error"] and len(answer.json()["error"]) < 300
    assert ask("POST", "/verify", files=PAIR).status_code == 200


def test_the_number_of_photographs_is_limited(ask):
    assert ask("POST", "/embed", files=[("image", SMALL)] * 16).status_code == 200
    answer = ask("POST", "/embed", files=[("image", SMALL)] * 17)
    assert answer.status_code == 413 and answer.json() == {
        "error": "more than 16 photographs in one request; send fewer"
    }
    assert ask("POST", "/embed", files=[("image", SMALL)] * 40).status_code == 400
    assert ask("POST", "/embed", files=[("image", SMALL), ("image", b"text")]).status_code == 415
    assert ask("POST", "/search", files={"image": SMALL}, data={"top": "2.5"}).status_code == 422


@pytest.mark.parametrize("left", [6, 100, 400])
def test_a_form_that_ends_early_is_not_answered_in_part(ask, left):
    """Its last photograph would be missing, and the others answered as if they were all."""
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + SMALL + b"\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    whole = part * 2 + b"--b--\r\n"
    assert len(ask("POST", "/embed", content=whole, headers=headers).json()["images"]) == 2
    answer = ask("POST", "/embed", content=whole[:-left], headers=headers)
    assert answer.status_code == 400 and "it ends before its closing boundary" in answer.json()["error"]


def test_a_form_without_a_stated_length_is_bounded_too(ask):
    async def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="first"; filename="a"\r\n\r\n'
        for _ in range(600):
            yield b"\0" * 65_536

    answer = ask("POST", "/verify", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/verify", 405), ("GET", "/../x", 404), ("POST", "/", 405)]
)
def test_unknown_paths_and_methods(ask, method, path, status):
    answer = ask(method, path)
    assert answer.status_code == status and "/openapi.json lists" in answer.json()["error"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "[", "a b"])
def test_a_foreign_host_name_is_refused(ask, host):
    """DNS rebinding."""
    for path in ("/", "/about"):
        answer = ask("GET", path, headers={"host": host})
        assert answer.status_code == 421 and "is not this server" in answer.json()["error"]
    assert ask("POST", "/verify", files=PAIR, headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "192.168.1.7:80"])
def test_its_own_names_are_answered(ask, host):
    assert ask("GET", "/about", headers={"host": host}).status_code == 200


def test_a_page_from_another_site_is_refused(ask):
    for origin in ("http://evil.example", "null", "https://127.0.0.1:9", "http://[::1", "http://[b]"):
        answer = ask("POST", "/verify", files=PAIR, headers={"origin": origin})
        assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
    assert ask("POST", "/verify", files=PAIR, headers={"origin": "http://127.0.0.1"}).status_code == 200


def test_every_answer_says_what_a_browser_may_do_with_it(ask):
    for path in ("/", "/page.js", "/about", "/nothing"):
        headers = ask("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_too_many_requests_are_told_when_to_retry(answers):
    import httpx

    from adaptface_jax.serve.app import application

    app = application(answers, waiting=3)

    async def many() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await asyncio.gather(*(client.post("/verify", files=PAIR) for _ in range(9)))

    found = asyncio.run(many())
    assert sorted({answer.status_code for answer in found}) == [200, 503]
    assert sum(answer.status_code == 200 for answer in found) >= 3
    for answer in found:
        assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    assert asked(app, "POST", "/verify", files=PAIR).status_code == 200


def test_a_bug_gives_one_line(answers, capfd):
    from adaptface_jax.serve.app import application

    class Broken:
        about = answers.about

        def verify(self, *_, **__):
            raise ZeroDivisionError("division by zero")

    answer = asked(application(Broken()), "POST", "/verify", files=PAIR)
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed (division by zero); its terminal shows more"}
    assert "Traceback" in capfd.readouterr().err


def test_no_photograph_reaches_the_disk(ask, monkeypatch):
    import tempfile

    def forbidden(*_, **__):
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", forbidden)
    data = SMALL.ljust(5 << 20, b"\0")  # data after the image is not read
    assert ask("POST", "/embed", files={"image": data}).status_code == 200
