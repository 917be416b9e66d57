"""A local hub: the few calls of an upload, and what it received."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """tokens: token -> the status of writes with it. files: repository -> path -> content."""

    def __init__(self, tokens: dict[str, int]):
        self.tokens = tokens
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.address = ""

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict]:
        status = self.tokens.get(token, 401)
        parts = path.partition("?")[0].removeprefix("/api/").split("/")
        if method == "GET":  # what the repository holds
            return (200, {"sha": "0" * 40, "id": "owner/name", "siblings": [], "tags": [], "private": True})
        if parts == ["validate-yaml"]:
            return 200, {"errors": [], "warnings": []}
        if status != 200:
            return status, {"error": "refused"}
        if parts == ["repos", "create"]:
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in self.files:
                return 409, {"error": "exists", "url": f"{self.address}/{name}"}
            self.files[name], self.private[name] = {}, asked.get("private") or asked.get("visibility") == "private"
            return 200, {"url": f"{self.address}/{name}"}
        name = "/".join(parts[1:3])
        if parts[3] == "preupload":
            asked = json.loads(body)["files"]
            return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        commit = {"commitUrl": f"{self.address}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}
        return 200, commit | {"hookOutput": "", "success": True}


@contextlib.contextmanager
def serving(tokens: dict[str, int]) -> Iterator[Hub]:
    """A hub at `address` during the block."""
    hub = Hub(tokens)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, answer = hub.answer(self.command, self.path, token, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
