"""Signed notes and checkpoints against published ones, and against whoever forges them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.errors import LedgerError
from bylaw.ledger import notes

# golang.org/x/mod/sumdb/note, example_test.go and note_test.go: the public key and the note of "Peter Neumann".
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
# c2sp.org/tlog-checkpoint, the example at its head: the form alone, its key is not published.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_a_published_note_opens_under_its_published_key_and_is_signed_the_same_way_again() -> None:
    key = notes.read_public_key(PETER)
    private = notes.read_signing_key(PRIVATE)

    assert notes.open_note(NOTE, key) == TEXT
    assert str(key) == PETER
    assert private.text() == PRIVATE
    assert notes.sign_note(TEXT, private.name, private.private) == NOTE


def test_the_published_checkpoint_has_our_form() -> None:
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")

    assert notes.Checkpoint("example.com/behind-the-sofa", 20852163, root).text() == EXAMPLE


def test_a_checkpoint_comes_back_under_its_key_and_under_no_other() -> None:
    key, other = notes.new_key(), notes.new_key()
    head = notes.Checkpoint(f"{key.name}/a1", 7, bytes(range(32)))
    note = key.sign(head)

    assert notes.read_checkpoint(note, key.public) == head
    assert key.signer(head.origin)(head) == note
    with pytest.raises(LedgerError, match="no checkpoint of a log of"):
        notes.read_checkpoint(note, other.public)
    with pytest.raises(LedgerError, match="no signature"):
        notes.read_checkpoint(note, notes.PublicKey(key.name, other.public.raw))
    assert "PRIVATE" not in repr(key)


def test_lines_of_witnesses_are_passed_over() -> None:
    key = notes.new_key()
    head = notes.Checkpoint(f"{key.name}/a1", 7, bytes(32))
    cosigned = key.sign(head) + f"— witness.example/w1 {base64.b64encode(bytes(76)).decode()}\n"

    assert notes.read_checkpoint(cosigned, key.public) == head


@given(st.data())
def test_every_changed_byte_of_a_checkpoint_is_found(data: st.DataObject) -> None:
    key = notes.read_signing_key(PRIVATE)
    note = key.sign(notes.Checkpoint(f"{key.name}/a1", 1234, bytes(range(32)))).encode()
    at = data.draw(st.integers(0, len(note) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != note[at]))
    changed = (note[:at] + bytes([byte]) + note[at + 1 :]).decode("utf-8", "replace")

    with pytest.raises(LedgerError):
        notes.read_checkpoint(changed, key.public)


@pytest.mark.parametrize("size", ["-1", "07", "1e3", "99999999999999999", "٣", ""])
def test_a_signed_size_that_is_no_plain_number_is_no_checkpoint(size: str) -> None:
    key = notes.new_key()
    text = f"{key.name}/a1\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"

    with pytest.raises(LedgerError, match="no checkpoint"):
        notes.read_checkpoint(notes.sign_note(text, f"{key.name}/a1", key.private), key.public)


@pytest.mark.parametrize("text", ["", "x", "a+b", "a+b+c", PETER[:-1], PETER.replace("c74f20a3", "c74f20a4"), "a b+c74f20a3+AAAA"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        notes.read_public_key(text)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY", PRIVATE[:-2], PRIVATE.replace("c74f20a3", "00000000")])
def test_a_damaged_signing_key_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(LedgerError) as caught:
        notes.read_signing_key(text)

    assert PRIVATE[-20:-4] not in caught.value.what + caught.value.hint
