"""Open a target: load what it names and return a Model."""

from pathlib import Path

from bylaw.errors import ModelError
from bylaw.models import hub, scripted
from bylaw.models.targets import Target
from bylaw.types import Model


def open_model(target: Target) -> Model:
    """Load a target, whatever kind it is."""
    if target.kind == "scripted":
        return scripted.load(Path(target.where))
    if target.kind == "openai":
        raise ModelError(f"{target.text}: endpoints are not built yet", "name a local model, a run, or scripted:FILE")
    if target.kind == "hub":
        hub.ensure_reachable(target.where)
    from bylaw.models import local  # noqa: PLC0415  # torch takes seconds to import; scripts do not need it

    return local.load(target.where, target.text, hub=target.kind == "hub")
