"""`serve --model`: which upstream there is, a server elsewhere or a local model in a child process of this one.

Nothing here loads torch; `models.server_child` starts the process that does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from bylaw.errors import ModelError
from bylaw.models import server_child
from bylaw.models.server_child import Child
from bylaw.serve.start import Setting

NOT_YET: Final = "http://127.0.0.1"  # the upstream while the child has not said its port


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the gateway."""

    setting: Setting
    child: Child | None = None

    def ready(self, policy: str, say: Callable[[str], None]) -> Setting:
        """Wait until it answers; raises ModelError. `policy` is the digest in force, `say` is told what a person should know."""
        if self.child is None:
            return self.setting
        say(f"loading {self.child.target}")
        found = self.child.ready()
        say(f"model {found.model}, in process {self.child.process.pid}")
        if found.policy and found.policy != policy:
            say(f"  it was trained on another policy: {found.policy}")
        return replace(self.setting, upstream=found.url, upstream_key_env=server_child.give_key(found), local_model=True)


@contextmanager
def behind(setting: Setting, model: str) -> Iterator[Behind]:
    """The upstream for as long as the block runs; raises ModelError where there is none, or more than one."""
    if bool(setting.upstream) == bool(model):
        raise ModelError("name one of --upstream and --model", "--upstream URL is a server elsewhere, --model RUN runs weights here.")
    if not model:
        yield Behind(setting)
        return
    if setting.upstream_key_env:
        raise ModelError("--upstream-key-env belongs to --upstream", "A local model has a key of its own.")
    child = server_child.begin(model)
    try:
        yield Behind(replace(setting, upstream=NOT_YET), child)
    finally:
        child.close()
