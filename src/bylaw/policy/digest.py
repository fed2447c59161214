"""What a policy means as plain JSON values, and its digest.

Places do not count, nor does the order of clauses: two policies that say the same have the same digest. A field that holds its
default is left out, so that a later bylaw with more optional fields gives old policies their old digests.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from bylaw import canonical
from bylaw.types import Place, Policy

FORMAT: Final = "bylaw-policy-1"


def meaning(value: Any) -> Any:
    """A policy, clause or any part of one as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = ((field, getattr(value, field.name)) for field in fields(value) if field.name != "digest")
        found = {field.name: meaning(item) for field, item in kept if not isinstance(item, Place) and not _is_default(field, item)}
        for key in ("clauses", "overlays", "styles", "reviewers"):
            if isinstance(found.get(key), list):
                found[key].sort(key=lambda row: row.get("id", row.get("name", "")))
        return found
    if isinstance(value, Mapping):
        return {key: meaning(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [meaning(item) for item in value]
    return value


def _is_default(field: Any, value: Any) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return default is not MISSING and bool(default == value)


def digest_of(policy: Policy) -> str:
    """`sha256:<hex>` of all that a policy means, its prose included."""
    return canonical.digest({"format": FORMAT, **meaning(policy)})
