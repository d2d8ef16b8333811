"""Chapter 02, scenes and splits: scenes, formats, sets of images, splits, and what a network is given of them."""
