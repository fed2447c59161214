"""Commands that stay: once its options are read, the process becomes one that no longer holds what read them.

That was 12 MB beside a gateway of 90, for as long as it runs. It is still the same process, with its id, its streams and its environment;
what it is to do comes through a pipe. Where other threads run it stays what it is: they would end. So it does where something else than
`bylaw` or `python -m bylaw` started it, which may have found `bylaw` where a new process would not look.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bylaw.cli.telling import any_letter, ended

MOST_BYTES: Final = 4_096  # what every pipe holds before anybody reads


@dataclass(frozen=True, slots=True)
class Program:
    """What a command has read: a function of a module that is light to load, and what to call it with."""

    work: Callable[..., object]
    given: Mapping[str, Any]

    def __call__(self) -> object:
        """Do it here."""
        return self.work(**self.given)

    def instead(self) -> object:
        """Do it instead of all else that this process was to do, or here where that cannot be."""
        written = pickle.dumps(self)
        if threading.active_count() == 1 and len(written) <= MOST_BYTES and sys.executable and _as_installed():
            _become(written)
        return self()


def _as_installed() -> bool:
    """Whether `python -m bylaw` or a script named `bylaw` was started: no archive, no debugger, nobody's own lines."""
    spec = sys.modules["__main__"].__spec__
    return spec.name == "bylaw.__main__" if spec else Path(sys.argv[0]).name == "bylaw"


def _become(written: bytes) -> None:
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:  # in the place of a stream that was closed, which the pipe would take
        os.set_inheritable(null, True)
    os.close(null)
    read, write = os.pipe()
    os.write(write, written)
    os.close(write)
    os.set_inheritable(read, True)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        os.execv(sys.executable, [sys.executable, *_options(), "-m", __name__, str(read), *sys.argv[1:]])  # ourselves
    except OSError:
        os.close(read)


def _options() -> list[str]:
    """What this interpreter was started with. That it buffers nothing (`-u`) stands in no flag; its standard output says so."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as `multiprocessing` does
    named = {flags[at + 1].partition("=")[0] for at, one in enumerate(flags[:-1]) if one == "-X"}
    for name, value in sys._xoptions.items():  # those of them that `subprocess` leaves out
        flags += [] if name in named else ["-X", name if value is True else f"{name}={value}"]
    if sys.modules["__main__"].__spec__ is None and "-P" not in flags:
        flags.append("-P")  # a script does not look for modules in the working directory, as `-m` does
    return [*flags, "-u"] if getattr(sys.__stdout__, "write_through", False) else flags


def main() -> None:
    """Do what the pipe says that is named first; what follows in the command line is for whoever looks at the list of processes."""
    any_letter()
    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        program: Program = pickle.load(pipe)  # of the same process, a moment ago
    sys.exit(ended(program))


if __name__ == "__main__":
    main()
