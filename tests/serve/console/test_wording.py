"""What pages say in words: names, limits, and numbers of things."""

from bylaw.serve.console import showing


def test_a_name_may_go_on_at_its_at_sign_and_is_escaped_like_all_text() -> None:
    assert showing.named("ann@refunds.example") == "ann<wbr>@refunds.example"
    assert showing.named("<b>\u202e@x") == "&lt;b&gt;⟨U+202E⟩<wbr>@x"
    assert showing.named("ops") == "ops"
