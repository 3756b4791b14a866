"""The benchmark of the engine, ``make bench``: attacks, training, growth and floors, on a CPU or a GPU."""
