"""The gateway: the ports through which models and tools are governed."""
