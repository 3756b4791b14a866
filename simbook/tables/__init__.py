r"""Stored results as tables beside the paper's numbers, and what they say: a module for each chapter."""
