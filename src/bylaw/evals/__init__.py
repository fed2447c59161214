"""What a model does with the policy, measured from both sides: does it resist, does it still help, and how sure are we."""
