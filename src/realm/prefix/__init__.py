"""Encode each prompt once for all of its completions, in rollouts and in passes with gradients.

The engine needs torch and Transformers, `trainer` also TRL. Nothing of realm is imported here, so
the folder can be released alone.
"""

from realm.prefix.logps import compute_group_logps
from realm.prefix.rollout import sample_completions
from realm.prefix.support import PrefixSharingError

__all__ = ["PrefixSharingError", "compute_group_logps", "sample_completions"]
