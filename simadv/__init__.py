"""The attacks and defences of the paper, the models, the measures, and the store of runs."""

__version__ = "0.1.0"
