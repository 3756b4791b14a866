r"""What the chapters measure of a trained run beyond its accuracy, stored beside it like an evaluation."""
