"""Networks, the one training loop, and what is measured of a trained network."""
