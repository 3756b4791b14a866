r"""How the claims of the paper, and our own, are judged by the tables: a module for each chapter, and their page."""
