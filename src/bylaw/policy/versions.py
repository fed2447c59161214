"""Semantic versions in their order (semver.org, 11): numbers first, a release after its previews, build marks not at all."""

import re


def compared(one: str, other: str) -> int:
    """-1, 0 or 1 as one semantic version goes before, equals or follows another; build marks do not count."""
    left, right = (_parts(text) for text in (one, other))
    if left[0] != right[0]:
        return -1 if left[0] < right[0] else 1
    if not left[1] or not right[1]:
        return bool(right[1]) - bool(left[1])  # a release follows its previews
    for mine, theirs in zip(left[1], right[1], strict=False):
        if mine != theirs:
            return -1 if mine < theirs else 1
    return (len(left[1]) > len(right[1])) - (len(left[1]) < len(right[1]))


def _parts(version: str) -> tuple[tuple[int, ...], tuple[tuple[bool, int, str], ...]]:
    numbers, _, preview = version.partition("+")[0].partition("-")
    named = [part for part in preview.split(".") if part]
    whole = tuple(int(part) for part in re.findall(r"\d+", numbers))
    return whole, tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in named)
