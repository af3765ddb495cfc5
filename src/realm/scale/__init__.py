"""More than one device: what fits into memory, and a vLLM server for rollouts."""
