"""Encode each prompt once for all of its completions, in rollouts and in passes with gradients; torch and Transformers only."""

from realm.prefix.logps import group_logps
from realm.prefix.rollout import group_rollout
from realm.prefix.support import Unshareable

__all__ = ["Unshareable", "group_logps", "group_rollout"]
