"""Who attacks: searches over techniques, conversations that lead step by step, and models that write attacks, within a budget."""
