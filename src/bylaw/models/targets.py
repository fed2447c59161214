"""The one syntax for a model: `embedded | FOLDER | RUN[:arm] | hub/name | openai:MODEL@URL | scripted:FILE`.

Parsing only; nothing is loaded here. A local path that does not exist is never taken for a hub name: a hub name has exactly one
slash, no dot or tilde in front, and its first part is no folder here.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bylaw.errors import ModelError
from bylaw.models import endpoint

Kind = Literal["local", "hub", "openai", "scripted"]
# The room above owns the checkpoint; models may not import it, so the place is named here.
EMBEDDED: Final = Path(__file__).parent.parent / "policyworld" / "base"
_HUB: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_OPENAI: Final = re.compile(r"openai:(?P<model>[^@]+)@(?P<url>https?://.+)", re.DOTALL)
SYNTAX: Final = "embedded | FOLDER | RUN[:arm] | hub/name | openai:MODEL@URL | scripted:FILE"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a model is: a folder, a hub name, an endpoint or a script. `arm` names which model of a run."""

    kind: Kind
    where: str
    text: str  # as the person wrote it
    arm: str = ""
    model: str = ""  # openai only

    @property
    def thinks(self) -> bool:
        """Whether the model was trained to think first; imitation arms were not."""
        return not self.arm.startswith("imitation")

    @property
    def embedded(self) -> bool:
        """Whether this is the shipped base itself."""
        return self.kind == "local" and Path(self.where) == EMBEDDED


def parse(text: str, runs: Path = Path("runs")) -> Target:
    """Read a target; raises ModelError with the syntax when it names nothing."""
    try:
        return _parse(text, runs)
    except (OSError, RuntimeError, ValueError) as error:  # a path no file system takes: too long, a NUL, ~nobody
        raise ModelError(f"not a model: {text[:80]!r}: {error}"[:200], f"a model is one of {SYNTAX}") from error


def _parse(text: str, runs: Path) -> Target:
    if text == "embedded":
        return Target("local", str(EMBEDDED), text, arm="base")
    if text.startswith("scripted:"):
        return _scripted(text)
    if text.startswith("openai:"):
        found = _OPENAI.fullmatch(text)
        if not found:
            said = text.partition("@")[0]  # what follows may hold a secret
            raise ModelError(f"not a model: {said}", "write openai:MODEL@URL, for example openai:qwen3@http://localhost:8000/v1")
        return Target("openai", endpoint.checked(found["url"]), text, model=found["model"])
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _folder(folder, "", text)
    name, _, arm = text.rpartition(":")
    for candidate in (Path(name).expanduser() if name else None, runs / name if name else None, runs / text):
        if candidate is not None and candidate.is_dir():
            return _folder(candidate, arm if candidate.name != text else "", text)
    if _HUB.fullmatch(text) and _elsewhere(text, runs):
        return Target("hub", text, text)
    raise ModelError(f"no model at {text}: the folder does not exist", f"a model is one of {SYNTAX}")


def _elsewhere(text: str, runs: Path) -> bool:
    """Whether two words with a slash between can only be a name on the hub: nothing here is meant by them."""
    first, _, second = text.partition("/")
    return first != runs.name and second.strip(".") != "" and not Path(first).exists()


def _scripted(text: str) -> Target:
    file = Path(text.removeprefix("scripted:"))
    if not file.is_file():
        raise ModelError(f"no script at {file}", 'write a file of JSON lines, each {"when": "words in the prompt", "say": "the reply"}')
    return Target("scripted", str(file), text)


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))


def _folder(folder: Path, arm: str, text: str) -> Target:
    """A folder that holds a model, or a run that holds several."""
    if _holds_weights(folder) and not (folder / "run.json").is_file():
        in_run = (folder.parent.parent / "run.json").is_file()
        return Target("local", str(folder), text, arm=folder.name if in_run else "")
    models = folder / "models"
    if not models.is_dir():
        raise ModelError(f"{folder} holds no model: no config.json in it", f"a model is one of {SYNTAX}")
    arms = sorted(p.name for p in models.iterdir() if not p.name.startswith(".") and _holds_weights(p))
    if arm and arm not in arms:
        raise ModelError(f"the run {folder} has no arm {arm}", f"it has {', '.join(arms) or 'none yet'}")
    chosen = arm or next((a for a in ("sft_rl", "sft", *arms) if a in arms), "")
    if not chosen:
        raise ModelError(f"the run {folder} has no finished model yet", "finish the run by starting it again with the same --out")
    return Target("local", str(models / chosen), text, arm=chosen)
