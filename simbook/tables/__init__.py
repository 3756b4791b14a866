r"""Stored results as tables beside the paper's numbers: a module for each chapter, and what they share."""
