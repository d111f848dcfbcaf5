"""A stand-in of the Hugging Face hub's HTTP API, as far as small models go in and come out.

It takes every file within the commit itself. The hub has large files sent elsewhere first, which is
the business of its library and not seen here. What it answers follows huggingface_hub 2.4.0.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_test"
USER = "user"


class Hub(ThreadingHTTPServer):
    """models: name → path → content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, dict[str, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        match urlsplit(self.path).path.strip("/").split("/"):
            case ["api", "repos", "create"]:
                self._create(json.loads(sent))
            case ["api", "validate-yaml"]:
                self._answer(200, {"errors": [], "warnings": []})
            case ["api", "models", user, name, "preupload", "main"]:
                if self._may_write(user):
                    files = [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for file in json.loads(sent)["files"]
                    ]
                    self._answer(200, {"files": files})
            case ["api", "models", user, name, "commit", "main"]:
                if self._may_write(user):
                    self._commit(f"{user}/{name}", [json.loads(line) for line in sent.splitlines()])
            case _:
                self._answer(404, {"error": f"no {self.path}"})

    def do_GET(self):
        match unquote(urlsplit(self.path).path).strip("/").split("/"):
            case ["api", "models", user, name, *rest] if f"{user}/{name}" in self.server.models:
                files = self.server.models[f"{user}/{name}"]
                if rest[:1] == ["tree"]:
                    tree = [
                        {"type": "file", "path": path, "size": len(content), "oid": _hash(content)}
                        for path, content in files.items()
                    ]
                    self._answer(200, tree)
                else:
                    siblings = [{"rfilename": path} for path in files]
                    found = {"id": f"{user}/{name}", "sha": _commit(files), "siblings": siblings}
                    self._answer(200, found)
            case [user, name, "resolve", _, path] if f"{user}/{name}" in self.server.models:
                files = self.server.models[f"{user}/{name}"]
                headers = {"ETag": f'"{_hash(files[path])}"', "X-Repo-Commit": _commit(files)}
                self._answer(200, files[path], headers)
            case _:
                self._answer(404, {"error": f"no {self.path}"}, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _create(self, asked):
        name = f"{asked['organization'] or USER}/{asked['name']}"
        if not self._may_write(asked["organization"]):
            return
        url = {"url": f"{self.server.url}/{name}"}
        if name in self.server.models:
            self._answer(409, {"error": "You already created this model repo"} | url)
        else:
            self.server.models[name] = {}
            self._answer(200, url)

    def _commit(self, name, lines):
        files = self.server.models[name]
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = _commit(files)
        url = f"{self.server.url}/{name}/commit/{commit}"
        self._answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def _may_write(self, user) -> bool:
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif user != USER:
            message = f"You don't have the rights to create a model under the namespace {user!r}"
            self._answer(403, {"error": message})
        else:
            return True
        return False

    def _answer(self, status, content, headers=None):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        """Nothing of each request."""


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _commit(files: dict[str, bytes]) -> str:
    return _hash(b"".join(path.encode() + content for path, content in sorted(files.items())))
