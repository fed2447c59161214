"""What stands beside the texts of a request or an answer: marks, which say nothing, and all else, which is text. Of gateway and guard.

A mark is a word of an enumeration, an id, or something sealed, in a field that is known to hold one: short, and without spaces. Long
numbers in fields that we do not know are text here, and so are names of fields that we do not know.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from bylaw.types import EMPTY

MAX_SHORT: Final = 512  # characters; what is longer and has no space is an image, sound, or something else encoded
MAX_NUMBER: Final = 1_000_000  # from here on, a number that we do not know is read as text
_WORD: Final = re.compile(r"[A-Za-z_.]{1,64}")
_NAME: Final = re.compile(r"[!-~]{1,256}")
ENCODED: Final = re.compile(r"[!-~]*")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_]{1,48}")


def _named(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


WORDS: Final = _named(
    "object type role status finish_reason stop_reason service_tier reason effort verbosity truncation phase tool_choice",
    "prompt_cache_retention inference_geo reasoning_effort modalities detail",
)
NAMES: Final = _named(
    "id model system_fingerprint call_id item_id tool_use_id response_id previous_response_id expires_at provider request_id",
    "tool_call_id file_id container_id media_type conversation include voice format ttl",
)
SEALED: Final = _named("signature encrypted_content encrypted_index")
KEYS: Final = (  # names of fields, which say nothing themselves
    WORDS
    | NAMES
    | SEALED
    | _named(
        "usage prompt_tokens completion_tokens total_tokens input_tokens output_tokens prompt_tokens_details completion_tokens_details",
        "input_tokens_details output_tokens_details cached_tokens reasoning_tokens audio_tokens accepted_prediction_tokens",
        "rejected_prediction_tokens cache_creation cache_creation_input_tokens cache_read_input_tokens ephemeral_5m_input_tokens",
        "ephemeral_1h_input_tokens server_tool_use web_search_requests web_fetch_requests logprobs content refusal annotations",
        "tool_calls function function_call text summary metadata reasoning tools parameters strict error incomplete_details",
        "instructions output parallel_tool_calls temperature top_p top_logprobs max_output_tokens max_tool_calls background store",
        "created created_at completed_at container context_management applied_edits format generate_summary billing payer prompt",
        "safety_identifier prompt_cache_key user citations url_citation url title start_index end_index token logprob bytes audio",
        "obfuscation frequency_penalty presence_penalty moderation stop_sequence index input name data max_tokens stream n seed stop",
        "max_completion_tokens stream_options include_usage logit_bias parallel_tool_calls top_k stop_sequences system thinking",
        "budget_tokens cache_control image_url file file_data filename input_audio source is_error enabled summary_index user_id",
        "custom prediction functions response_format json_schema schema description image outputs results logs",
    )
)


class Placed(NamedTuple):
    """Strings of a value that are no marks: each where it stands, and those that stand nowhere where they could be cut out."""

    texts: list[tuple[tuple[str | int, ...], str]]
    loose: list[str]


def placed(value: Any, path: tuple[str | int, ...], encoded: bool = False) -> Placed:
    """The strings of a value that are read; `encoded`: an image, sound or file stands in it, which is not text."""
    found = Placed([], [])
    _place(found, value, path, ("", False, encoded))
    return found


def _place(found: Placed, value: Any, path: tuple[str | int, ...], how: tuple[str, bool, bool]) -> None:
    key, strange, encoded = how
    if isinstance(value, str):
        if value and not is_mark(key, value) and not (encoded and len(value) > MAX_SHORT and ENCODED.fullmatch(value)):
            found.texts.append((path, value))
    elif isinstance(value, dict):
        for name, one in value.items():
            if unknown := name not in KEYS:
                found.loose.append(name)
            if one is None or (isinstance(one, str) and is_mark(name, one)):
                continue
            _place(found, one, (*path, name), (name, unknown, encoded))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            _place(found, one, (*path, at), how)
    elif strange and isinstance(value, int | float) and abs(value) >= MAX_NUMBER:
        found.loose.append(str(value))


def said_beside(value: Any, sent: Mapping[str, Any] = EMPTY) -> list[str]:
    """Every string beside an answer that could be read as a text, and that the request did not say itself."""
    found: list[str] = []
    _walk(value, "", False, found)
    if found and sent:
        known = set(strings(sent))
        found = [one for one in found if one not in known]
    return found


def _walk(value: Any, key: str, strange: bool, found: list[str]) -> None:
    if isinstance(value, str):
        if value and not is_mark(key, value):
            found.append(value)
    elif isinstance(value, dict):
        for name, one in value.items():
            if unknown := name not in KEYS:
                found.append(name)
            elif one is None or isinstance(one, int | float) or (isinstance(one, str) and is_mark(name, one)):
                continue
            _walk(one, name, unknown, found)
    elif isinstance(value, list):
        for one in value:
            _walk(one, "", strange, found)
    elif strange and isinstance(value, int | float) and abs(value) >= MAX_NUMBER:
        found.append(str(value))


def is_mark(key: str, value: str) -> bool:
    """Whether a string in a field of this name says nothing to a reader."""
    if key in WORDS:
        return bool(_WORD.fullmatch(value))
    if key in NAMES:
        return bool(_NAME.fullmatch(value))
    return key in SEALED and bool(ENCODED.fullmatch(value))


def left(value: Any, sent: Mapping[str, Any] = EMPTY) -> Any:
    """A copy in which only numbers, marks and what the request says itself are left."""
    known = set(strings(sent)) if sent else set()
    return _left(value, "", known)


def _left(value: Any, key: str, known: Collection[str]) -> Any:
    if isinstance(value, str):
        return value if not value or is_mark(key, value) or value in known else None
    if isinstance(value, dict):
        return {name: _left(one, name, known) for name, one in value.items() if name in known or _small(name, one)}
    if isinstance(value, list):
        return [kept for one in value if (kept := _left(one, "", known)) is not None]
    return value


def _small(name: str, value: Any) -> bool:
    """Whether a field may stay: a name of letters, and no long number under a name that we do not know."""
    long = isinstance(value, int | float) and name not in KEYS and abs(value) >= MAX_NUMBER
    return bool(_PLAIN_KEY.fullmatch(name)) and not long


def word(value: Any, otherwise: str) -> str:
    """A word of an enumeration, or ours where it is none."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else otherwise


def strings(value: Any) -> list[str]:
    """Every string in a JSON value, keys of maps too, in order."""
    found: list[str] = []
    _strings(value, found)
    return found


def _strings(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for key, one in value.items():
            found.append(key)
            _strings(one, found)
    elif isinstance(value, list):
        for one in value:
            _strings(one, found)


def spelled(rows: Any, text: str) -> list[str] | None:
    """The alternatives to a text's tokens, where token probabilities spell it and no more; else None."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_token(row) for row in rows):
        return None
    if rows and "".join(row["token"] for row in rows) != text:
        return None
    others: list[str] = []
    for row in rows:
        alternatives = row.get("top_logprobs") or []
        if not isinstance(alternatives, list) or not all(isinstance(one, dict) and _is_token(one) for one in alternatives):
            return None
        others += [one["token"] for one in alternatives if one["token"] != row["token"]]
    return others


def without(value: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A map without some of its fields."""
    return {key: one for key, one in value.items() if key not in keys}


def _is_token(row: Mapping[str, Any]) -> bool:
    token, spelt = row.get("token"), row.get("bytes")
    if not isinstance(token, str) or row.keys() - {"token", "logprob", "bytes", "top_logprobs"}:
        return False
    if not isinstance(row.get("logprob"), int | float | None):
        return False
    return spelt is None or spelt == list(token.encode("utf-8", "surrogatepass"))
