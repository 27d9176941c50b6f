"""What windows of far-away files cost: bytes read for each byte that is needed, and seconds by connections.

A server on this machine gives cloud-optimised GeoTIFFs of noise, which cannot be compressed, as those of
Sentinel-2 hardly can; each of its answers begins after a made-up latency. Needed are the blocks that a window
meets. Best of several rounds, from no connection to files on the disk.

    OMP_NUM_THREADS=1 python benchmarks/fetch.py [--side 5000] [--files 4] [--latency-s 0.1] [--rounds 3]
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin

from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window, save_window
from glacierseg.settings.fetch import FetchSettings

CORNER, PIXEL_M, BLOCK_PX = (478_560, 3_099_000), 10, 512
SHARES = (0.05, 0.3, 0.6)


@contextmanager
def serving(folder: Path, latency_s: float) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            time.sleep(latency_s)
            path = folder / self.path.strip("/")
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(first)
                body = file.read(min(last, size - 1) + 1 - first)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{size}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def write_images(folder: Path, files: int, side: int) -> None:
    folder.mkdir()
    values = np.random.default_rng(0).integers(1, 4096, (side, side)).astype(np.uint16)
    for number in range(files):
        with rasterio.open(
            folder / f"{number}.tif",
            "w",
            driver="COG",
            height=side,
            width=side,
            count=1,
            dtype="uint16",
            crs="EPSG:32645",
            transform=from_origin(*CORNER, PIXEL_M, PIXEL_M),
            compress="deflate",
            blocksize=BLOCK_PX,
            overview_count=3,
        ) as file:
            file.write(np.roll(values, number * 997), 1)


def square(side: int, share: float) -> shapely.Polygon:
    """A place in the middle of an image, of a share of its side."""
    first, last = side * (1 - share) / 2, side * (1 + share) / 2
    way = Transformer.from_crs(32645, 4326, always_xy=True)
    corners = [(first, first), (last, first), (last, last), (first, last)]
    return shapely.Polygon(
        [way.transform(CORNER[0] + PIXEL_M * x, CORNER[1] - PIXEL_M * y) for x, y in corners]
    )


def bytes_of_blocks(path: Path, window: Window) -> int:
    first_row, first_column = window.row // BLOCK_PX, window.column // BLOCK_PX
    last_row = (window.row + window.grid.height - 1) // BLOCK_PX
    last_column = (window.column + window.grid.width - 1) // BLOCK_PX
    with rasterio.open(path) as file:
        return sum(
            int(file.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1))
            for row in range(first_row, last_row + 1)
            for column in range(first_column, last_column + 1)
        )


def fetch(
    folder: Path, address: str, shape: shapely.Polygon, connections: int
) -> tuple[float, int, list[Window]]:
    """Seconds, bytes read and windows of all files."""
    assets = [Asset(f"{address}/{path.name}") for path in sorted(folder.iterdir())]
    with (
        tempfile.TemporaryDirectory() as out,
        Web(FetchSettings(connections=connections), cache=Cache(Path(out), 0)) as web,
    ):
        started = time.perf_counter()
        windows = [
            window for window in web.at_once([partial(plan_window, web, a, shape) for a in assets]) if window
        ]
        for number, window in enumerate(windows):
            save_window(web, window, Path(out) / f"{number}.tif")
        return time.perf_counter() - started, web.bytes_read, windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=5000, metavar="PX")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--latency-s", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        write_images(folder, asked.files, asked.side)
        with serving(folder, asked.latency_s) as address:
            for share in SHARES:
                shape = square(asked.side, share)
                best = {}
                for connections in (1, 8):
                    rounds = [fetch(folder, address, shape, connections) for _ in range(asked.rounds)]
                    best[connections] = min(seconds for seconds, _, _ in rounds)
                _, read, windows = rounds[0]
                pairs = zip(sorted(folder.iterdir()), windows, strict=True)
                needed = sum(bytes_of_blocks(path, window) for path, window in pairs)
                print(
                    f"{share:.0%} of a side, {asked.files} files: {read / 1e6:.1f} MB read, "
                    f"{read / needed:.3f} times what is needed; {best[1]:.2f} s with 1 connection, "
                    f"{best[8]:.2f} s with 8"
                )


if __name__ == "__main__":
    main()
