"""A small world of tools: what an assistant is asked to do there, what it must not do, what came of it exactly, and who plays it."""
