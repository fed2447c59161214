"""A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a socket; or the reason why there is none."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest

PATIENCE_S = 180
MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)  # folders of our own are made in it


def missing() -> str:
    """Why PostgreSQL cannot be tested here; empty where it can."""
    if _bin() is None:
        return "no PostgreSQL server here: apt-get install postgresql"
    if find_spec("pg8000") is None:
        return "no driver: pip install '.[pg]'"
    return ""


@contextmanager
def cluster() -> Iterator[str]:
    """A running server; gives the URL of its first database, without the database's name."""
    programs = _bin()
    if programs is None:
        pytest.skip(missing())
    folder = Path(tempfile.mkdtemp(prefix="bylaw-pg-", dir=MEMORY))  # a short path: a socket's may have 107 bytes
    user = _user()
    if user is not None:
        shutil.chown(folder, user)
    try:
        _run(user, str(programs / "initdb"), "-D", f"{folder}/d", "-U", "bylaw", "-A", "trust", "-E", "UTF8", "--no-sync")
        folder.chmod(0o755)
        _start(str(folder))
        try:
            yield str(folder)
        finally:
            _stop(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stopped(folder: str) -> Iterator[None]:
    """The server of a cluster is gone without a word, and comes back afterwards."""
    _stop(folder)
    try:
        yield
    finally:
        _start(folder)


def database(folder: str) -> str:
    """A new, empty database of a cluster, as a URL."""
    from sqlalchemy import create_engine, text

    name = f"t{uuid4().hex}"
    engine = create_engine(_url(folder, "postgres").replace("postgresql", "postgresql+pg8000", 1), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return _url(folder, name)


def _url(folder: str, name: str) -> str:
    return f"postgresql://bylaw@/{name}?unix_sock={folder}/.s.PGSQL.5432"


def _user() -> str | None:
    """Who runs the server: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if any(one.pw_name == "postgres" for one in pwd.getpwall()) else "nobody"


def _start(folder: str) -> None:
    options = f"-k {folder} -c listen_addresses='' -c unix_socket_permissions=0777 -c max_connections=200 -c fsync=off"
    _run(_user(), f"{_bin()}/pg_ctl", "-D", f"{folder}/d", "-l", f"{folder}/log", "-o", options, "-w", "start")


def _stop(folder: str) -> None:
    _run(_user(), f"{_bin()}/pg_ctl", "-D", f"{folder}/d", "-m", "immediate", "-w", "stop")


def _bin() -> Path | None:
    found = shutil.which("initdb") or next(
        (str(one) for one in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
    )
    return Path(found).resolve().parent if found else None


def _run(user: str | None, *line: str) -> None:
    done = subprocess.run(
        line, user=user, capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL, cwd="/"
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(line)}: {done.stderr or done.stdout}")
