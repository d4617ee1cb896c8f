"""How a simulation drives tuner and each of its peers, one module per library."""
