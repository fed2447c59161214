"""bylaw: one written policy, trained into the model, enforced at run time, tested by attack, proven by evidence."""

from typing import TYPE_CHECKING, Any

from bylaw._version import __version__

if TYPE_CHECKING:
    from bylaw.govern.guard import Guard
    from bylaw.govern.outcomes import Blocked, Pending

__all__ = ["Blocked", "Guard", "Pending", "__version__"]


def __getattr__(name: str) -> Any:
    """The public face, loaded when it is first asked for: `from bylaw import Guard`."""
    if name == "Guard":
        from bylaw.govern.guard import Guard  # noqa: PLC0415  # `import bylaw` stays light

        return Guard
    if name in ("Blocked", "Pending"):
        from bylaw.govern import outcomes  # noqa: PLC0415  # the same

        return getattr(outcomes, name)
    raise AttributeError(f"module 'bylaw' has no attribute {name!r}")
