"""What no rail can look into: pictures, sounds, files and what is encoded, under whatever name they come."""

import re
from typing import Any, Final

MAX_SHORT: Final = 512  # characters; what is longer and has no space is encoded
_NAMES: Final = (
    "image image_url image_file image_embeds input_image output_image computer_screenshot audio audio_url audio_embeds input_audio "
    "output_audio video video_url input_video file file_url input_file document_url container_upload base64"
)
NAMES: Final = frozenset(_NAMES.split())
_ENCODED: Final = re.compile(r"(?:data:[a-z0-9/.+;=-]{0,99},)?[A-Za-z0-9+/_-]*={0,2}")


def unread(value: Any) -> str:
    """What no rail can look into in a part whose shape we do not know: the name of the first such thing; empty: all of it is text."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            kinds = [name for name in (one.get("type"), *one) if isinstance(name, str) and name in NAMES]
            if kinds:
                return kinds[0]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and len(one) > MAX_SHORT and _ENCODED.fullmatch(one):
            return "encoded"
    return ""
