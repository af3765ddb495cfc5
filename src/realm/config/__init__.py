"""The settings of a run, read from YAML."""

from realm.config.root import Config, load_config

__all__ = ["Config", "load_config"]
