"""What docs/frameworks.md says of arguments that LangChain hides from a model: it takes them from a model that writes them all the same."""

from typing import Annotated

import pytest

tools = pytest.importorskip("langchain_core.tools", reason="LangChain is not installed: pip install '.[langchain]'")


def test_langchain_hides_an_injected_argument_and_takes_it_from_a_model_all_the_same() -> None:
    def pay(amount: int, account: Annotated[str, tools.InjectedToolArg]) -> str:
        """Pay."""
        return f"{amount} to {account}"

    made = tools.StructuredTool.from_function(pay)
    said = made.invoke({"type": "tool_call", "id": "1", "name": "pay", "args": {"amount": 1, "account": "mine"}})

    assert list(made.tool_call_schema.model_json_schema()["properties"]) == ["amount"]
    assert said.content == "1 to mine"
