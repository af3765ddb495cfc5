"""Evaluation: ask, judge, compare and report."""
