"""The written policy: read, checked, printed, and compiled to what training, judges and the run-time gate need."""
