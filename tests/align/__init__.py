"""Tests of the alignment methods."""
