"""Training: distillation and reinforcement learning on TRL."""

import os

# TRL reads it when trl.experimental is imported, so it must be set before any file of this folder.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
