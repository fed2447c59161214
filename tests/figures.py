"""Whether a figure stands in a text as a number of its own: the same digits by chance inside an id or a digest are none."""

import re


def stands(figure: int, text: str | bytes) -> bool:
    """As `9999` or `9999.0`, not as in `…a9999b…`, `…-9999-…`, `19999` or a record `LOG#9999`."""
    said = text.decode() if isinstance(text, bytes) else text
    return re.search(rf"(?:(?<![\w.#-])|(?<=\\[nrt])){figure}(?![\w-])", said) is not None  # an escaped line break is no letter
