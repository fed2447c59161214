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
        return _remote(target)
    if target.kind == "hub":
        hub.ensure_reachable(target.where)
    from bylaw.models import local  # noqa: PLC0415  # torch takes seconds to import; scripts do not need it

    return local.load(target.where, target.text, hub=target.kind == "hub")


def _remote(target: Target) -> Model:
    try:
        from bylaw.models import remote  # noqa: PLC0415  # aiohttp is an extra; local models do without
    except ModuleNotFoundError as error:
        raise ModelError(f"{target.text}: an endpoint needs {error.name}", "pip install 'bylaw[eval]'") from error
    return remote.load(target.model, target.where, target.text)
