"""A proxy that lets nothing through and notes what was asked of it: who a run would have called, had there been a network."""

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SILENCES = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI")  # what keeps a library quiet


@contextmanager
def listening(file: Path) -> Iterator[dict[str, str]]:
    """An environment in which nothing is told to be quiet and every call goes through the proxy, which adds its first line to the file."""

    class Call(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline(4096)
            with file.open("ab") as out:
                out.write(line)
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    file.touch()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Call) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_address[1]}"
        kept = {key: value for key, value in os.environ.items() if key not in SILENCES and not key.lower().endswith("_proxy")}
        yield kept | {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"}
        server.shutdown()
