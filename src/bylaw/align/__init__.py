"""How a model learns the policy: one file a method, each thin on TRL."""
