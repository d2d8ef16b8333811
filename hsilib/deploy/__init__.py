"""From a trained network to a file that classifies raw spectra, its engines, and what they cost."""
