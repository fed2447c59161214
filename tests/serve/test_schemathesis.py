"""The document at `/openapi.json` against the gateway itself: whatever fits it, and much that does not, gets an answer that is no fault."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from bylaw.ledger.writer import Ledger
from bylaw.serve.openapi import DOCUMENT
from bylaw.serve.start import Process, Setting, prepare
from bylaw.store import database
from tests.serve.killing import policy
from tests.serve.planted import EVENTS, SAID, as_bytes
from tests.serve.rig import post, serving
from tests.serve.test_serving import until

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install schemathesis")

EXAMPLES = 40  # of each operation, with a key and without
PATIENCE_S = 60.0
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods if method in ("get", "post", "delete")]


class Model(BaseHTTPRequestHandler):
    """An upstream that answers each route as its vendor would."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        asked = self.rfile.read(length)
        streams = False
        with suppress(ValueError, AttributeError):
            streams = bool(json.loads(asked).get("stream"))
        said = SAID.get(self.path)
        body = as_bytes(self.path, EVENTS[self.path]) if said and streams else json.dumps(said or {"object": "list", "data": []}).encode()
        with suppress(ConnectionError):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if said and streams else "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815  # the names the server calls

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The gateway's address, and an admin's key."""
    folder: Path = tmp_path_factory.mktemp("schema")
    with ExitStack() as stack:
        setting = Setting(stack.enter_context(upstream()), data_dir=folder / "data")
        prepare(setting, policy(folder / "policy"), "tester")
        url = stack.enter_context(serving(Process(setting)))
        store = database.open(setting.database)
        stack.callback(store.close)
        ledger = stack.enter_context(Ledger(folder / "data"))
        _, secret = keys.create(store, ledger.append, Grant("ada", ("admin", "lead", "agent")))
        until(lambda: post(f"{url}/api/approvals", method="GET", headers={"authorization": f"Bearer {secret}"}).status == 200)
        yield url, secret


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_what_fits_the_document_gets_an_answer_that_is_no_fault(served: tuple[str, str], path: str, method: str) -> None:
    url, secret = served
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method]
    statuses: Counter[int] = Counter()
    wrong: list[str] = []

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def tried(case: Any) -> None:
        for key in ({}, {"authorization": f"Bearer {secret}"}):
            if path == "/api/stop" and method == "post" and "drill" not in str(case.body):
                case.body = (
                    {"scope": "drill:schema"} if isinstance(case.body, dict) and case.body.get("scope") else case.body
                )  # not all others
            began = time.monotonic()
            reply = case.call(base_url=url, headers=key, timeout=PATIENCE_S)
            statuses[reply.status_code] += 1
            if reply.status_code >= 500 or time.monotonic() - began > PATIENCE_S:
                wrong.append(f"{reply.status_code} {case.as_curl_command()} -> {reply.content[:300]!r}")

    tried()

    assert wrong == []
    assert statuses.total() >= 2


@pytest.mark.slow
def test_the_document_describes_what_the_gateway_says_of_itself(served: tuple[str, str]) -> None:
    url, secret = served
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    failures = []
    for path, method in OPERATIONS:
        if method == "get" and "{" not in path:
            case = schema[path][method].Case()
            reply = case.call(base_url=url, headers={"authorization": f"Bearer {secret}"})
            case.validate_response(reply)
            failures += [(path, reply.status_code)] if reply.status_code != 200 else []

    assert failures == []
