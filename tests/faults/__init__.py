"""Faults under load, on real servers."""
