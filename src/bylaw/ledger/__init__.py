"""What the model then did: an append-only Merkle log with signed checkpoints that an outsider can verify."""
