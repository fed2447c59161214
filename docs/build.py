"""Write what the docs copy from the code: the map and the rules in ARCHITECTURE.md, and docs/cli.md. `make docs` runs it.

Only the text between two markers (`<!-- written by docs.build: NAME -->` and `<!-- end: NAME -->`) is replaced. A test compares, so a
copy that fell behind is a red test and never a stale page.
"""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

from bylaw.cli import app

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src" / "bylaw"
ARCHITECTURE: Final = ROOT / "ARCHITECTURE.md"
CLI: Final = ROOT / "docs" / "cli.md"


def main() -> None:
    """Write every part that is copied."""
    ARCHITECTURE.write_text(architecture(), encoding="utf-8")
    CLI.write_text(command_line(), encoding="utf-8")


def architecture() -> str:
    """ARCHITECTURE.md as it should be now: its own words, with the rules and the map of today."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    for name, part in (("rules", rules()), ("map", map_of(SOURCE))):
        page = _between(page, name, part)
    return page


def _between(text: str, name: str, part: str) -> str:
    """The text with the part of that name replaced; raises ValueError where the markers are not there once."""
    first, last = f"<!-- written by docs.build: {name} -->\n", f"<!-- end: {name} -->\n"
    before, rest = text.split(first)
    _, after = rest.split(last)
    return f"{before}{first}\n{part}\n{last}{after}"


def map_of(package: Path) -> str:
    """Every module with its caption, room by room; `__init__` gives the room its own."""
    return "\n".join(_rows(package, depth=0)) + "\n"


def _rows(folder: Path, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for entry in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if entry.suffix == ".py" and (entry.name != "__init__.py" or depth == 0):
            yield f"{pad}- `{entry.name}` {caption(entry)}"
        elif (entry / "__init__.py").is_file():
            yield f"{pad}- **`{entry.name}/`** {caption(entry / '__init__.py')}"
            yield from _rows(entry, depth + 1)


def caption(module: Path) -> str:
    """The first line of a module's docstring; empty where it has none."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def rules() -> str:
    """The import rules as pyproject states them: the layers, then every forbidden import."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    lines = ["```text", *layers["layers"], "```", ""]
    for contract in contracts:
        if contract["type"] == "forbidden":
            apart, forbidden = (", ".join(f"`{name.removeprefix('bylaw.')}`" for name in contract[key]) for key in _SIDES)
            lines.append(f"- **{contract['name']}.** {apart} may not import {forbidden}.")
    return "\n".join(lines) + "\n"


_SIDES: Final = ("source_modules", "forbidden_modules")


def command_line() -> str:
    """Every command with its arguments and options, from the typer app."""
    head = "# The command line\n\n`make docs` writes this page from `src/bylaw/cli/`; do not edit it.\n"
    exits = "Exit codes: 0 good, 1 findings or a missed threshold, 2 could not run, 130 interrupted.\n"
    return "\n".join([head, exits, *(_page(words, command) for words, command in commands())])


def commands(group: Any = None, words: tuple[str, ...] = ("bylaw",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with the words that call it, in the order of `--help`."""
    root: Any = group or typer.main.get_command(app)
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def _page(words: tuple[str, ...], command: Any) -> str:
    kinds = get_type_hints(command.callback)
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    lines = [f"## {' '.join(words)}", "", f"`{' '.join([*words, *(one.metavar for one in arguments), '[OPTIONS]'])}`", ""]
    lines += [command.help.strip(), "", "| what | means | default |", "| --- | --- | --- |"]
    lines += [_row(one.metavar, one) for one in arguments]
    lines += [_row(f"{' '.join(one.opts)} {_value(one, kinds[one.name])}".strip(), one) for one in options]
    return "\n".join(lines) + "\n"


def _row(name: str, parameter: Any) -> str:
    return f"| `{name}` | {parameter.help} | {_default(parameter)} |".replace("|  |", "| |")


def _value(option: Any, kind: Any) -> str:
    """What a value looks like: its metavar, the choices, or its kind; nothing for a switch."""
    if option.metavar or kind is bool:
        return option.metavar or ""
    if get_origin(kind) is Literal:
        return " / ".join(get_args(kind))
    return "N" if int in (kind, *get_args(kind)) else "TEXT"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.required:
        return "required"
    switch_or_nothing = parameter.default is None or isinstance(parameter.default, bool) or parameter.default == ""
    return "" if switch_or_nothing else f"`{parameter.default}`"


if __name__ == "__main__":
    main()
