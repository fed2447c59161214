"""Where the example policies lie: inside an installed package, or beside the source in a checkout."""

from pathlib import Path
from typing import Final

from bylaw.errors import PolicyError

_PACKAGED: Final = Path(__file__).parent.parent / "policies"
_CHECKOUT: Final = Path(__file__).parents[3] / "policies"


def example_policy(name: str) -> Path:
    """The folder of an example policy that ships with bylaw."""
    for folder in (_PACKAGED / name, _CHECKOUT / name):
        if folder.is_dir():
            return folder
    raise PolicyError(f"the example policy {name} is not installed", "reinstall bylaw, or name a policy folder with --policy")
