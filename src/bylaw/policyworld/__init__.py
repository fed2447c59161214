"""The embedded default: a small templated world in which every alignment method can be measured exactly."""
