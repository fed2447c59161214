"""A secret, by the name of the variable that holds it: files and command lines name secrets, and never hold them."""

import os

from bylaw.errors import StoreError


def secret_in(variable: str, what: str, whose: str = "") -> str:
    """What a variable of the environment holds; "" where none is named. Raises StoreError where it is empty, in `whose` name."""
    found = os.environ.get(variable, "") if variable else ""
    if variable and not found:
        raise StoreError(f"{whose and f'{whose}: '}the environment variable {variable} is empty", f"Set it to {what}.")
    return found
