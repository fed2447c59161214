"""C2SP signed notes and checkpoints: a tree's origin, size and root as text under an Ed25519 signature.

Formats: c2sp.org/signed-note (signature type 0x01) and c2sp.org/tlog-checkpoint; a public key is written as `NAME+ID+BASE64`, as Go's
sumdb and the witnesses do. One key pair signs for one data directory. Its name is made from the key, and each log's origin is that name
and the log's own: `bylaw-ledger/KEY/LOG`. A log signs under its origin, as the specification asks, so its key id is its own.
Reading is strict: what we would not have written in exactly this way is refused. Lines of other signers (witnesses) are passed over.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bylaw.errors import LedgerError

ED25519: Final = b"\x01"
MAX_NOTE_CHARS: Final = 100_000
MAX_SIGNATURES: Final = 100
MAX_SIZE: Final = 2**53 - 1  # as large as an index in a leaf can be
_NAME: Final = re.compile(r"[\x21-\x2a\x2c-\x7e]{1,200}")  # ASCII without space and plus: no look-alike can name a log twice
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_KEY_HINT: Final = "A public key is one line, NAME+ID+BASE64, as in keys/ledger.pub of the data directory."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many leaves, and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A named Ed25519 public key."""

    name: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.name}+{key_id(self.name, self.raw).hex()}+{base64.b64encode(ED25519 + self.raw).decode()}"

    def of_log(self, log: str) -> "PublicKey":
        """The same key under the name with which it signs a log's checkpoints."""
        return PublicKey(log, self.raw)

    def owns(self, origin: str) -> bool:
        """Whether a log with this origin is one of this key's."""
        return origin == self.name or origin.startswith(self.name + "/")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private half. It never prints itself."""

    name: str
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, …)"

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a signed note, under the checkpoint's origin."""
        return sign_note(checkpoint.text(), checkpoint.origin, self.private)

    def signer(self, origin: str) -> Callable[[Checkpoint], str]:
        """`sign` for one log, with all that stays the same done once."""
        own, private = key_id(origin, self.public.raw), self.private

        def sign(checkpoint: Checkpoint) -> str:
            text = checkpoint.text()
            return f"{text}\n\u2014 {origin} {base64.b64encode(own + private.sign(text.encode())).decode()}\n"

        return sign

    def text(self) -> str:
        """As Go's sumdb writes a private key; for the key file alone."""
        seed = base64.b64encode(ED25519 + self.private.private_bytes_raw()).decode()
        return f"PRIVATE+KEY+{self.name}+{key_id(self.name, self.public.raw).hex()}+{seed}"


def key_id(name: str, raw: bytes) -> bytes:
    """The four bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + raw).digest()[:4]


def new_key() -> SigningKey:
    """A fresh key pair, named after itself."""
    private = Ed25519PrivateKey.generate()
    name = hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()[:16]
    return SigningKey(f"bylaw-ledger/{name}", private)


def read_public_key(text: str) -> PublicKey:
    """A public key from its one line; raises LedgerError."""
    name, plus, rest = text.strip().partition("+")
    hashed, again, encoded = rest.partition("+")
    raw = _decoded(encoded)
    if not plus or not again or not _NAME.fullmatch(name) or raw is None or len(raw) != 33 or raw[:1] != ED25519:
        raise LedgerError("not a public key of a ledger", _KEY_HINT)
    if key_id(name, raw[1:]).hex() != hashed:
        raise LedgerError(f"the public key of {name} is damaged: its id does not fit", _KEY_HINT)
    return PublicKey(name, raw[1:])


def read_signing_key(text: str) -> SigningKey:
    """A private key from its one line; raises LedgerError, which never repeats what was read."""
    parts = text.strip().split("+", 4)
    raw = _decoded(parts[4]) if len(parts) == 5 else None  # base64 may hold more of them
    if raw is None or parts[:2] != ["PRIVATE", "KEY"] or not _NAME.fullmatch(parts[2]) or len(raw) != 33 or raw[:1] != ED25519:
        raise LedgerError("not a signing key of a ledger", "Put the key file back from a backup; a new key cannot go on with an old log.")
    key = SigningKey(parts[2], Ed25519PrivateKey.from_private_bytes(raw[1:]))
    if key_id(key.name, key.public.raw).hex() != parts[3]:
        raise LedgerError("the signing key is damaged: its id does not fit", "Put the key file back from a backup.")
    return key


# ---- Notes ------------------------------------------------------------------------------------------------------------


def sign_note(text: str, name: str, private: Ed25519PrivateKey) -> str:
    """A text that ends in a line end, a blank line, and one signature line."""
    signed = key_id(name, private.public_key().public_bytes_raw()) + private.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signed).decode()}\n"


def open_note(note: str, key: PublicKey) -> str:
    """The text of a note that this key has signed; raises LedgerError on anything else."""
    text, blank, lines = note.rpartition("\n\n")
    wrong = LedgerError("not a signed note", "A note is text, a blank line and signature lines that begin with an em dash.")
    if len(note) > MAX_NOTE_CHARS or not blank or not text or not note.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise wrong
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise wrong
    text += "\n"
    known = False
    for line in signatures:
        dash, name, encoded = line.split(" ") if line.count(" ") == 2 else ("", "", "")
        signed = _decoded(encoded)
        if dash != "\u2014" or not name or signed is None or len(signed) < 5:
            raise wrong
        if name == key.name and signed[:4] == key_id(key.name, key.raw):
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(signed[4:], text.encode())
            except (InvalidSignature, UnicodeEncodeError) as error:
                raise LedgerError(f"the signature of {key.name} is forged", "Nothing under this signature can be believed.") from error
            known = True
    if not known:
        raise LedgerError(f"no signature of {key.name}", "Check that this is the public key of this very ledger.")
    return text


def read_checkpoint(note: str, key: PublicKey) -> Checkpoint:
    """The checkpoint of one of this key's logs, its signature verified; raises LedgerError."""
    origin = note.partition("\n")[0]
    if not _NAME.fullmatch(origin) or not key.owns(origin):
        raise LedgerError(f"no checkpoint of a log of {key.name}", "Check that this is the public key of this very ledger.")
    lines = open_note(note, key.of_log(origin)).split("\n")
    root = _decoded(lines[2]) if len(lines) == 4 else None
    if root is None or len(root) != 32 or not _SIZE.fullmatch(lines[1]) or int(lines[1]) > MAX_SIZE:
        raise LedgerError(f"a note of {origin} that is no checkpoint", "A checkpoint is three lines: origin, size, root.")
    return Checkpoint(origin, int(lines[1]), root)


def _decoded(text: str) -> bytes | None:
    """Base64 in its one canonical form, or None."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None
