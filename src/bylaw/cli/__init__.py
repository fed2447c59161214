"""The command line: parse, call, print. It never thinks.

Exit codes: 0 good, 1 findings or a missed threshold, 2 an error, 130 interrupted. An error is one line of what and one line of what
next. Commands import what they need when they run, so that `bylaw policy lint` never loads the training stack.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bylaw.cli.entry import app, main, run

__all__ = ["app", "main", "run"]


def __getattr__(name: str) -> Any:
    """All commands load when the first of them is asked for: `staying` needs none."""
    if name not in __all__:
        raise AttributeError(name)
    from bylaw.cli import entry  # noqa: PLC0415  # see above

    return getattr(entry, name)
