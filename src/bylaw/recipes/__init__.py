"""Whole stories, one page each: which step follows which, and why."""
