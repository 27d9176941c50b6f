"""A file server on loopback that knows ranges, counts what it is asked for, and fails when it is told to."""

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_PIECE = 65536


@dataclass(frozen=True)
class Fault:
    """What goes wrong with requests for a file.

    Attributes:
        times: With how many of them, one after the other; None for all.
        status: The status that is answered, without a body.
        headers: Further headers, in place of those of the same names; an empty one is left out.
        body: What is sent in place of the file.
        delay_s: How long the server stays silent before it answers.
        pause_s: How long it stays silent after each piece of 64 KiB.
        cut_after: After how many bytes of its body an answer ends.
        reset: Whether the connection is then reset, and not only closed.
        ranges: Whether ranges are known; otherwise the whole file is sent.
        shift: By how many bytes the part that is sent lies behind the one that was asked for.
        unless: A query with which nothing goes wrong, such as the right token.
    """

    times: int | None = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay_s: float = 0.0
    pause_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    ranges: bool = True
    shift: int = 0
    unless: str | None = None


@dataclass
class Asked:
    """A request: path, query, first and last byte, encodings, and how many bytes of a body were sent."""

    path: str
    query: str
    part: tuple[int, int] | None
    encodings: str
    sent: int = 0


class FileServer:
    """The files of a folder, and others by their path.

    Attributes:
        folder: The folder.
        files: Contents by path (`/token`), before those of the folder.
        delay_s: How long every answer takes to begin.
        asked: All requests so far.
        most_at_once: The greatest number of requests at one time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.delay_s = folder, dict[str, bytes](), 0.0
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._now = 0
        self._faults: dict[str, list[Fault]] = {}
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path.lstrip('/')}"

    def fail(self, path: str, fault: Fault) -> None:
        """Lets requests for a path fail; several faults of one path come one after the other."""
        self._faults.setdefault(f"/{path.lstrip('/')}", []).append(fault)

    def mend(self) -> None:
        """Forgets all faults and all requests."""
        self._faults, self._used, self.asked = {}, {}, []

    @property
    def bytes_sent(self) -> int:
        return sum(one.sent for one in self.asked)

    def of(self, path: str) -> list[Asked]:
        """Returns the requests for a path."""
        return [one for one in self.asked if one.path == f"/{path.lstrip('/')}"]

    def content(self, path: str) -> bytes | None:
        if path in self.files:
            return self.files[path]
        file = self.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def fault_of(self, path: str, query: str) -> Fault:
        with self._lock:
            for fault in self._faults.get(path, []):
                if fault.unless is not None and fault.unless in query:
                    continue
                used = self._used.get(id(fault), 0)
                if fault.times is None or used < fault.times:
                    self._used[id(fault)] = used + 1
                    return fault
        return Fault()

    @contextmanager
    def counted(self, asked: Asked) -> Iterator[None]:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = (int(found[1]), int(found[2])) if found else None
            asked = Asked(path, parts.query, part, self.headers.get("Accept-Encoding", ""))
            with server.counted(asked):
                try:
                    self._answer(server.fault_of(path, parts.query), asked)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        def _answer(self, fault: Fault, asked: Asked) -> None:
            time.sleep(fault.delay_s + server.delay_s)
            content = server.content(asked.path)
            if fault.status is not None or content is None:
                self._begin(fault.status or 404, {"Content-Length": "0"} | dict(fault.headers))
                return
            content = content if fault.body is None else fault.body
            headers = {
                "ETag": f'"{hash(content)}"',
                "Last-Modified": formatdate(0, usegmt=True),
                "Content-Type": "application/octet-stream",
            }
            status, body = 200, content
            if asked.part and fault.ranges:
                first, last = asked.part[0] + fault.shift, min(asked.part[1] + fault.shift, len(content) - 1)
                status, body = 206, content[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                if not body:
                    headers["Content-Range"], status = f"bytes */{len(content)}", 416
            headers["Content-Length"] = str(len(body))
            self._begin(status, headers | dict(fault.headers))
            self._send(body, fault, asked)

        def _begin(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def _send(self, body: bytes, fault: Fault, asked: Asked) -> None:
            end = len(body) if fault.cut_after is None else min(fault.cut_after, len(body))
            for at in range(0, end, _PIECE):
                piece = body[at : min(at + _PIECE, end)]
                # Counted first, so that a client that has the piece finds it counted.
                asked.sent += len(piece)
                self.wfile.write(piece)
                time.sleep(fault.pause_s)
            if fault.cut_after is not None:
                self.close_connection = True
                if fault.reset:
                    self.wfile.flush()
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()

    return Handler


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """Serves the files of a folder while a block runs."""
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()
