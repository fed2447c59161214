"""The guard around other frameworks' tools: each adapter only translates, and everything is decided where the guard decides it."""
