"""Multi-Route Process Verification: the prompt, the parser and the reward terms."""
