"""Events of an answer in their order: what comes after a text waits for it, and what is held waits for the whole answer."""

from bylaw.serve.in_order import InOrder
from bylaw.serve.wire import JsonMap


def event(name: str) -> JsonMap:
    return {"type": name}


def names(events: object) -> list[str]:
    return [one["type"] for one in events]  # type: ignore[attr-defined]  # a sequence of events


def order() -> InOrder:
    return InOrder(lambda part: [event(f"end of {part}")])


def test_what_comes_after_a_part_that_waits_leaves_once_a_later_part_has_text_and_after_its_end() -> None:
    one = order()
    now = [*one.out(event("a")), *one.end(1, waits=True), *one.out(event("b")), *one.end(2, waits=True), *one.out(event("c"))]

    assert names(now) == ["a"]
    assert names(one.caught_up(1)) == []
    assert names(one.caught_up(2)) == ["end of 1", "b"]
    assert names(one.caught_up()) == ["end of 2", "c"]
    assert names([*one.end(3, waits=False), *one.out(event("d"))]) == ["end of 3", "d"]


def test_a_part_that_does_not_wait_still_ends_after_one_before_it_that_does() -> None:
    one = order()

    assert names([*one.end(1, waits=True), *one.end(2, waits=False)]) == []
    assert names(one.caught_up()) == ["end of 1", "end of 2"]


def test_all_that_comes_after_a_hold_is_held_and_text_before_it_is_not() -> None:
    one = order()
    one.end(1, waits=True)
    one.out(event("a"))
    one.hold()
    one.out(event("call"))

    assert names(one.leave(event("text of 1"))) == ["text of 1"]
    assert names(one.caught_up()) == ["end of 1", "a"]
    assert names(one.leave(event("more"))) == []
    assert names(one.held) == ["call", "more"]
