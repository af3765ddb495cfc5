"""Training: distillation and reinforcement learning on TRL."""
