"""From pictures and defects to weights: the network, its losses and its stages."""
