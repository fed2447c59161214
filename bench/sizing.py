"""What a gateway needs, from what `python -m bench` measured: `python -m bench gateway start | python -m bench.sizing` prints Markdown.

Nothing is measured here. A processor's second is divided by the measured time of a request and a chunk; half of it is planned for, so that
there is room for the peaks. A figure that was not measured is a row that is missing.
"""

import re
import sys
from collections.abc import Iterable
from typing import Final

SHARE: Final = 0.5  # of a processor that is planned for
CHUNKS: Final = 300  # of an answer that streams
RATES: Final = (1, 10, 50, 200)  # requests a second
_ROW: Final = re.compile(r"(?P<name>\S.*?)\s{2,}(?P<value>-?[0-9.]+) (?P<unit>\S+)")

REQUEST: Final = "gateway: governed, recorded and fsynced"
CHUNK: Final = "gateway: governed and recorded, CPU of one more chunk"
MEMORY: Final = "serve: memory after"


def measured(lines: Iterable[str]) -> dict[str, float]:
    """The rows that `python -m bench` prints, by name."""
    found = (_ROW.match(line) for line in lines)
    return {one["name"]: float(one["value"]) for one in found if one}


def table(rows: dict[str, float]) -> str:
    """The sizing table; raises KeyError where the gateway was not measured."""
    request_s, chunk_s = rows[REQUEST] / 1e6, rows[CHUNK] / 1e6
    memory = next((value for name, value in rows.items() if name.startswith(MEMORY)), None)
    lines = [
        f"| requests a second | processors, whole answers | processors, {CHUNKS} chunks an answer | `--workers` | memory |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for rate in RATES:
        whole, streamed = rate * request_s / SHARE, rate * (request_s + CHUNKS * chunk_s) / SHARE
        workers = max(1, -int(-streamed // 1))
        need = f"{workers * memory:.0f} MB" if memory is not None else "not measured"
        lines.append(f"| {rate} | {whole:.2f} | {streamed:.2f} | {workers} | {need} |")
    return "\n".join(lines)


def main() -> int:
    """Read rows, print the table."""
    try:
        print(table(measured(sys.stdin)))
    except KeyError as error:
        print(f"not measured: {error.args[0]}; run python -m bench gateway start", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
