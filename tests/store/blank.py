"""An empty store for a test: made once in each process and copied after that, which is several times as quick."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from bylaw.store import database
from bylaw.store.database import Store


def opened(path: Path) -> Store:
    """The store at a path; a blank one where there is none yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(_blank())
    return database.open(path)


@cache
def _blank() -> bytes:
    with TemporaryDirectory(prefix="bylaw-") as folder:
        made = Path(folder) / "store.sqlite"
        database.open(made).close()
        return made.read_bytes()
