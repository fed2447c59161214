"""The model hub: asked once and quickly whether a name can be had, before anything retries for a minute; told nothing of what runs here."""

import os
import socket
from typing import Final
from urllib.parse import urlsplit

from bylaw.errors import ModelError

PATIENCE_S: Final = 5.0


def ensure_reachable(name: str) -> None:
    """Raise ModelError when a model is neither in the local cache nor to be asked for. Behind a proxy the hub's own client decides."""
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415  # only hub names need it

    hint = "a folder? check the path; a hub name? it needs a network, or a copy in the cache"
    cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    if constants.HF_HUB_OFFLINE and not cached:
        raise ModelError(f"no folder {name} here, and HF_HUB_OFFLINE keeps from asking the hub", hint)
    proxied = any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    if proxied or cached:
        return
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=PATIENCE_S).close()
    except OSError as error:
        raise ModelError(f"no folder {name} here, and the model hub cannot be reached", hint) from error


def tell_nothing() -> None:
    """Keep libraries from reporting what is trained and served here: TRL's trainers through the hub's client, and vLLM.

    The environment alone comes too late for the hub's client, which read it when it was imported.
    """
    from huggingface_hub import constants  # noqa: PLC0415  # the gateway's own process never needs it

    os.environ["DO_NOT_TRACK"] = "1"  # vLLM asks when it loads a model; and for the processes that this one starts
    constants.HF_HUB_DISABLE_TELEMETRY = True
