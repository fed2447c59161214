"""What a program says and how it ends: plain lines, exit codes, and every error as one line of what and one line of what next."""

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from bylaw.errors import BylawError

FINDINGS: Final = 1
ERROR: Final = 2
INTERRUPTED: Final = 130
CUT_SHORT: Final = "marshal data too short"


def ended(work: Callable[[], object]) -> int:
    """Do it, and return the exit code; every expected error becomes two lines on stderr, and any other is no finding."""
    try:
        code = work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except Exception as error:  # noqa: BLE001  # all are told, and none is exit 1, which means that there are findings
        return failed(*_told(error))
    if code == INTERRUPTED:
        say("interrupted", sys.stderr)
    return code if isinstance(code, int) else 0


def failed(what: str, hint: str) -> int:
    """Print an error as one line of what and one line of what next; returns the exit code."""
    say(f"error: {' '.join(what.split())}", sys.stderr)
    say(f"  next: {' '.join(hint.split()) or 'See `bylaw --help`.'}", sys.stderr)
    return ERROR


def say(text: str, stream: Any = None) -> None:
    """Print text in which nothing but line ends and tabs can steer a terminal."""
    _write("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text), stream or sys.stdout)


def say_json(value: Any) -> None:
    """Print one JSON value."""
    _write(json.dumps(value, indent=2), sys.stdout)


def _write(text: str, stream: Any) -> None:
    if stream is None:  # a program that was started without any
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as error:
        error.filename = "standard output"
        raise


DISTRIBUTIONS: Final = {  # of modules that are called otherwise than what is installed
    "re2": "google-re2",
    "stdnum": "python-stdnum",
    "opentelemetry": "opentelemetry-sdk",
    "agents": "openai-agents",
    "pydantic_ai": "pydantic-ai-slim",
}


def any_letter() -> None:
    """Let what a terminal has no letter for be printed in escapes: that is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _told(error: Exception) -> tuple[str, str]:
    """What went wrong, and what next. What nobody expected is a fault of ours, and is shown in full before."""
    if isinstance(error, BylawError):
        return error.what, error.hint
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"this command needs {error.name}, which is not installed",
            f"pip install '.[{_extras(error.name or '')}]' in a clone of bylaw",
        )
    if isinstance(error, EOFError) and str(error) == CUT_SHORT:
        return (
            "a file that Python compiled was cut short, as by a full disk",
            f"Delete every __pycache__ folder below {sys.prefix} and in bylaw's own.",
        )
    traceback.print_exception(error)
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:300], "This is a fault of bylaw: please report it, with the lines above."


def _extras(module: str) -> str:
    """The extras that bring a module, with those that one mostly wants beside them."""
    from importlib.metadata import requires  # noqa: PLC0415  # needed here alone

    name = DISTRIBUTIONS.get(top := module.partition(".")[0], top).replace("_", "-").lower()
    said = (re.fullmatch(r"([A-Za-z0-9_.-]+).*extra == ['\"]([\w-]+)['\"].*", one) for one in requires("bylaw") or ())
    found = [one[2] for one in said if one and one[1].replace("_", "-").lower() == name]
    if "serve" in found or "pii" in found:
        return "serve,pii"
    return "align,eval" if "align" in found or not found else found[0]


def _system(error: OSError) -> tuple[str, str]:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}no space left on the device", "Free some space, or write to another disk."
    return f"{where}{error.strerror or error}", "Check the path and its permissions."
