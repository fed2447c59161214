"""Sealed answers-to-be: what a client carries between our question and its user's answer, so that nothing is kept here for it.

AES-256-GCM under a key derived from the data directory's key file. Sealed in are the request for approval, the principal, the server, the
tool, the digest of the arguments, the policy, and when it ends; a nonce makes it good once, for all processes on one store. Whatever does
not fit is refused, and nothing is done. Gateways that share a store must share `keys/` as well, or else each opens only its own.
"""

import base64
import binascii
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bylaw.ledger.keyfile import signing_key
from bylaw.store import mcp_rows
from bylaw.store.database import Store

BEGINS: Final = "bylaw1."
PURPOSE: Final = b"bylaw mcp sealed state 1"
NONCE_BYTES: Final = 12
MAX_CHARS: Final = 8_192
LONGEST_S: Final = 600  # how long a question may wait for its answer


class Unsealed(Exception):  # noqa: N818  # becomes an answer
    """A sealed text that does not open, or that opens to something else: why."""


class Seal:
    """Seals and opens."""

    def __init__(self, data_dir: Path, store: Store, clock: Callable[[], float] = time.time) -> None:
        seed = signing_key(data_dir).private.private_bytes_raw()
        self._aead = AESGCM(HKDF(SHA256(), 32, None, PURPOSE).derive(seed))
        self._store = store
        self._clock = clock

    def closed(self, what: str, said: Mapping[str, Any], ttl_s: int | None = LONGEST_S) -> str:
        """A text that only we can open. `what` it is for is bound to it; without a time it does not end."""
        ends = {"ends": self._clock() + min(ttl_s, LONGEST_S)} if ttl_s is not None else {}
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._aead.encrypt(nonce, orjson.dumps({**said, **ends}), what.encode())
        return BEGINS + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def opened(self, what: str, text: str, expected: Mapping[str, Any]) -> dict[str, Any]:
        """What was sealed, where all that is expected is in it; raises Unsealed."""
        try:
            if not text.startswith(BEGINS) or len(text) > MAX_CHARS:
                raise ValueError
            coded = text.removeprefix(BEGINS)
            sealed = base64.b64decode(coded + "=" * (-len(coded) % 4), b"-_", validate=True)
            if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != coded:
                raise ValueError  # other letters for the same bytes
            said: dict[str, Any] = orjson.loads(self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], what.encode()))
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Unsealed("it is not one of ours, or was altered") from error
        if (ends := said.get("ends")) is not None and self._clock() >= ends:
            raise Unsealed("it is past its time")
        for name, value in expected.items():
            if said.get(name) != value:
                raise Unsealed(f"it was given for another {name}")
        return said | {"nonce": sealed[:NONCE_BYTES].hex()}

    def used(self, nonce: str) -> bool:
        """Use it up; false where it was used before. Raises StoreError."""
        return mcp_rows.used(self._store, nonce, round(self._clock() * 1000))
