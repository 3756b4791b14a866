"""What the chapters are made of: their parameters and runs, their tables, their figures. The science is in simadv."""
