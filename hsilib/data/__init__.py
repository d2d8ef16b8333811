"""Chapter 02, scenes and splits: files, sets of images, splits, and what a network is given of them."""
