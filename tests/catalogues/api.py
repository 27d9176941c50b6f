"""A STAC API on this machine: it searches items, pages them, serves their files, and fails if told to."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.catalogues.shelf import collection


@dataclass(frozen=True)
class Faults:
    """How the server fails.

    Attributes:
        page: Which page fails, from 1.
        times: How often it does.
        status: With which status of HTTP.
        retry_after: How long it then wants to be left alone.
        is_cut: Whether it breaks off in the middle instead.
        is_endless: Whether the last page names itself as the next one.
        is_moved: Whether the search has moved to another address, by the status that `status` is.
        filters: Whether a search heeds collections, box and days.
        is_silent: Whether it never answers a search.
        by: Methods of the search.
    """

    page: int | None = None
    times: int = 1
    status: int = 500
    retry_after: str = "0"
    is_cut: bool = False
    is_endless: bool = False
    is_moved: bool = False
    filters: bool = True
    is_silent: bool = False
    by: Sequence[str] = ("GET", "POST")


@dataclass
class Api:
    """A server that runs.

    Attributes:
        address: Of its landing page.
        asked: Terms of the searches, one for each page.
    """

    address: str
    items: list[dict[str, Any]]
    faults: Faults
    page_items: int
    files: Path | None
    asked: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(
    items: Sequence[dict[str, Any]],
    faults: Faults | None = None,
    *,
    page_items: int = 2,
    files: Path | None = None,
) -> Iterator[Api]:
    """Runs a server while a block runs.

    Args:
        items: With `{files}` where the address of the files must stand; see `Shelf.items`.
        faults: How it fails.
        page_items: Greatest number of items on a page.
        files: Folder of the files, which are served by ranges too.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    address = f"http://127.0.0.1:{server.server_port}"
    text = json.dumps(list(items)).replace("{files}", f"{address}/files")
    api = Api(address, json.loads(text), faults or Faults(), page_items, files)
    server.api = api  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def api(self) -> Api:
        found: Api = self.server.api  # type: ignore[attr-defined]
        return found

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers."""
        url = urlsplit(self.path)
        terms: dict[str, Any] = dict(parse_qsl(url.query))
        if url.path == "/":
            self._send(self._landing())
        elif url.path.startswith("/files/") and self.api.files:
            self._send_file(self.api.files / unquote(url.path).removeprefix("/files/"))
        elif url.path == "/collections":
            names = sorted({item["collection"] for item in self.api.items})
            self._send({"collections": [collection(name) for name in names], "links": []})
        elif url.path in {"/search", "/moved"} and "GET" in self.api.faults.by:
            if "bbox" in terms:
                terms["bbox"] = [float(side) for side in terms["bbox"].split(",")]
            if "collections" in terms:
                terms["collections"] = terms["collections"].split(",")
            self._search(terms, url.path, "GET")
        else:
            self._send({"detail": "no such thing"}, 404)

    def do_POST(self) -> None:
        """Answers."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path in {"/search", "/moved"} and "POST" in self.api.faults.by:
            self._search(json.loads(body), self.path, "POST")
        else:
            self._send({"detail": "no such thing"}, 404)

    def _landing(self) -> dict[str, Any]:
        base = self.api.address
        links = [{"rel": "data", "href": f"{base}/collections"}]
        links += [{"rel": "search", "href": f"{base}/search", "method": one} for one in self.api.faults.by]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "api",
            "description": "Made",
            "links": links,
        }

    def _search(self, terms: dict[str, Any], path: str, method: str) -> None:
        api, faults = self.api, self.api.faults
        if faults.is_silent:
            api.stop.wait(30)
            return
        if faults.is_moved and path == "/search":
            query = f"?{urlsplit(self.path).query}" if method == "GET" else ""
            self._send({}, faults.status, {"Location": f"{api.address}/moved{query}"})
            return
        api.asked.append(terms)
        page = int(str(terms.get("token", "t1"))[1:])
        fails = page == faults.page and api.failed < faults.times
        api.failed += fails
        if fails and not faults.is_cut:
            self._send({"detail": "made to fail"}, faults.status, {"Retry-After": faults.retry_after})
            return
        found = [item for item in api.items if not faults.filters or _is_asked(item, terms)]
        start = (page - 1) * api.page_items
        features = found[start : start + api.page_items]
        answer: dict[str, Any] = {"type": "FeatureCollection", "features": features, "links": []}
        follows = page if faults.is_endless else None
        if start + api.page_items < len(found):
            follows = page + 1
        if follows:
            link: dict[str, Any] = {"rel": "next", "href": f"{api.address}{path}", "method": method}
            if method == "POST":
                link |= {"body": {"token": f"t{follows}"}, "merge": True}
            else:
                own = {**dict(parse_qsl(urlsplit(self.path).query)), "token": f"t{follows}"}
                link["href"] += f"?{urlencode(own)}"
            answer["links"] = [link]
        self._send(answer, is_cut=fails)

    def _send(
        self, answer: Any, status: int = 200, headers: dict[str, str] | None = None, *, is_cut: bool = False
    ) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self.close_connection = True

    def _send_file(self, path: Path) -> None:
        if not path.is_file():
            self._send({}, 404)
            return
        data = path.read_bytes()
        wanted = self.headers.get("Range", "")
        first, last = 0, len(data) - 1
        if wanted.startswith("bytes="):
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])


def _is_asked(item: dict[str, Any], terms: dict[str, Any]) -> bool:
    if terms.get("collections") and item["collection"] not in terms["collections"]:
        return False
    if terms.get("bbox") and item.get("bbox"):
        west, south, east, north = item["bbox"]
        box = terms["bbox"]
        if west > box[2] or east < box[0] or south > box[3] or north < box[1]:
            return False
    first, last = terms["datetime"].split("/") if "datetime" in terms else ("", "~")
    # As text, whatever its time zone: servers do that.
    time = item["properties"].get("datetime") or item["properties"].get("start_datetime") or ""
    return bool(first <= time <= last)
