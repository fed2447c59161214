"""Open a target: load what it names and return a Model."""

from pathlib import Path

from bylaw.errors import ModelError
from bylaw.models import hub, scripted
from bylaw.models.manners import USUAL, Manners
from bylaw.models.targets import Target
from bylaw.types import Model


def open_model(target: Target, manners: Manners = USUAL, vllm: bool = False) -> Model:
    """Load a target, whatever kind it is. `manners` say how to ask an endpoint; `vllm` runs weights on vLLM, where that is installed."""
    if target.kind == "scripted":
        return scripted.load(Path(target.where))
    if target.kind == "openai":
        return _remote(target, manners)
    if target.kind == "hub":
        hub.ensure_reachable(target.where)
    if vllm:
        from bylaw.models import vllm as offline  # noqa: PLC0415  # an engine for GPU machines, not in our extras

        return offline.load(target.where, target.text, hub=target.kind == "hub")
    from bylaw.models import local  # noqa: PLC0415  # torch takes seconds to import; scripts do not need it

    return local.load(target.where, target.text, hub=target.kind == "hub")


def _remote(target: Target, manners: Manners) -> Model:
    try:
        from bylaw.models import remote  # noqa: PLC0415  # aiohttp is an extra; local models do without
    except ModuleNotFoundError as error:
        raise ModelError(f"{target.text}: an endpoint needs {error.name}", "pip install '.[eval]'") from error
    return remote.load(target.model, target.where, target.text, manners)
