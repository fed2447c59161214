"""bylaw: one written policy, trained into the model, enforced at run time, tested by attack, proven by evidence."""

from bylaw._version import __version__

__all__ = ["__version__"]
