"""What a model may do at run time: one pure decision, rails on what goes in and out, people who approve."""
