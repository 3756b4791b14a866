r"""Arrays and tables in, axes out: a module of figures for each chapter. They know no model and no disk."""
