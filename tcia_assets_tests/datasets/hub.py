"""A stand-in of the Hugging Face Hub on the loopback: repositories of datasets, LFS, commits.

What it answers is what huggingface_hub of today asks for, without Xet.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "right" * 6
READ_ONLY = "hf_" + "reads" * 6
_LARGE = re.compile(r".*[.](gz|parquet|png|tar)")


@dataclass
class Repository:
    """The files of a repository by path, its commits, and whether it is private."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.gz lfs\n"})
    commits: list[str] = field(default_factory=lambda: ["0" * 40])


@dataclass
class Hub:
    """What the Hub holds, and what it was asked.

    `fail_after` is how many large files it takes before it fails; `on_batch` is called before one.
    `broken_files` is the status with which it refuses to serve files; 0 if it serves them.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    fail_after: int | None = None
    broken_files: int = 0
    on_batch: Callable[[], object] = bool
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a Hub for a while; `hub.url` is its address."""

    class Handler(_Handler):
        its_hub = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.status, self.message, self.code = status, message, code
        super().__init__(message)


class _Handler(BaseHTTPRequestHandler):
    its_hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_one_request(self) -> None:
        """Answer requests of all methods alike."""
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._answer()
        self.wfile.flush()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path)
        routes = ((re.fullmatch(pattern, path), answer) for pattern, answer in _ROUTES.items())
        try:
            match, answer = next((m, answer) for m, answer in routes if m)
            answer(self, body, *match.groups())
        except StopIteration:
            self._send(404, {"error": f"no {path}"})
        except _Refusal as error:
            code = {"X_Error_Code": error.code} if error.code else {}
            self._send(error.status, {"error": error.message}, **code)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers.setdefault("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _check_token(self, *, writes: bool) -> None:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if given not in (TOKEN, READ_ONLY):
            raise _Refusal(401, "Invalid credentials in Authorization header")
        if writes and given == READ_ONLY:
            raise _Refusal(403, "You don't have the rights to create or write here")

    def _repository(self, name: str) -> Repository:
        if name not in self.its_hub.repositories:
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        return self.its_hub.repositories[name]

    # --- What is asked ----------------------------------------------------------------------------

    def create(self, body: bytes) -> None:
        self._check_token(writes=True)
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        is_new = name not in self.its_hub.repositories
        if is_new:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.its_hub.repositories[name] = Repository(private=bool(private))
        self._send(200 if is_new else 409, {"url": f"{self.its_hub.url}/datasets/{name}"})

    def validate(self, _body: bytes) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def info(self, _body: bytes, name: str) -> None:
        self._check_token(writes=False)
        repository = self._repository(name)
        siblings = [{"rfilename": path} for path in sorted(repository.files)]
        about = {"id": name, "sha": repository.commits[-1], "private": repository.private}
        self._send(200, {**about, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, _body: bytes, name: str, folder: str) -> None:
        """List the files and folders in a folder."""
        self._check_token(writes=False)
        start, found = f"{folder}/" if folder else "", dict[str, dict[str, Any]]()
        for path, content in sorted(self._repository(name).files.items()):
            if not path.startswith(start):
                continue
            inner, _, deeper = path[len(start) :].partition("/")
            oid = _oid(content, is_large=False)
            file = {"type": "file", "path": path, "oid": oid, "size": len(content)}
            found[inner] = {**file, "type": "directory", "path": start + inner} if deeper else file
        self._send(200 if found else 404, list(found.values()))

    def preupload(self, body: bytes, name: str) -> None:
        self._check_token(writes=True)
        files = self._repository(name).files
        answer = []
        for asked in json.loads(body)["files"]:
            path = asked["path"]
            is_large = bool(_LARGE.fullmatch(path))
            oid = _oid(files[path], is_large=is_large) if path in files else None
            mode = "lfs" if is_large else "regular"
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send(200, {"files": answer})

    def batch(self, body: bytes, _name: str) -> None:
        self._check_token(writes=True)
        self.its_hub.on_batch()
        objects: list[dict[str, Any]] = []
        for each in json.loads(body)["objects"]:
            found: dict[str, Any] = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.its_hub.large:
                href = f"{self.its_hub.url}/large/{each['oid']}"
                found["actions"] = {"upload": {"href": href}}
            objects.append(found)
        self._send(200, {"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        hub = self.its_hub
        if hub.fail_after is not None and len(hub.uploads) >= hub.fail_after:
            raise _Refusal(400, "the line was cut")
        assert hashlib.sha256(body).hexdigest() == oid
        hub.large[oid] = body
        hub.uploads.append(oid)
        self._send(200, {})

    def commit(self, body: bytes, name: str) -> None:
        self._check_token(writes=True)
        repository = self._repository(name)
        header, *lines = [json.loads(line) for line in body.splitlines()]
        if header["value"].get("parentCommit") != repository.commits[-1]:
            raise _Refusal(412, "the branch has moved")
        for line in lines:
            value = line["value"]
            if line["key"] == "lfsFile":
                repository.files[value["path"]] = self.its_hub.large[value["oid"]]
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            else:
                del repository.files[value["path"]]
        repository.commits.append(hashlib.sha1(body).hexdigest())
        oid = repository.commits[-1]
        self._send(200, {"commitUrl": f"{self.its_hub.url}/c/{oid}", "commitOid": oid})

    def resolve(self, _body: bytes, name: str, path: str) -> None:
        self._check_token(writes=False)
        if self.its_hub.broken_files:
            raise _Refusal(self.its_hub.broken_files, "no files are served")
        repository = self._repository(name)
        if path not in repository.files:
            self._send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return
        content = repository.files[path]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(200, content, ETag=tag, X_Repo_Commit=repository.commits[-1])


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES = {
    r"/api/repos/create": _Handler.create,
    r"/api/validate-yaml": _Handler.validate,
    rf"/api/datasets/{_NAME}(?:/revision/\w+)?": _Handler.info,
    rf"/api/datasets/{_NAME}/tree/\w+/?(.*)": _Handler.tree,
    rf"/api/datasets/{_NAME}/preupload/main": _Handler.preupload,
    rf"/datasets/{_NAME}[.]git/info/lfs/objects/batch": _Handler.batch,
    r"/large/(\w+)": _Handler.upload,
    rf"/api/datasets/{_NAME}/commit/main": _Handler.commit,
    rf"/datasets/{_NAME}/resolve/\w+/(.+)": _Handler.resolve,
}


def _oid(content: bytes, *, is_large: bool) -> str:
    """Return what git, or git's large files, call a file."""
    if is_large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
