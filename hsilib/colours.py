"""Colours: one per class and one per method, the same in the whole book."""

# Index 0 is unlabelled.  Ordered so that neighbours in the list differ in lightness, and so also in grey.
CLASSES = [
    (24, 24, 24), (230, 159, 0), (0, 90, 160), (240, 228, 66), (0, 158, 115), (213, 94, 0), (86, 180, 233), (160, 60, 110),
    (190, 220, 120), (110, 60, 20), (204, 170, 220), (40, 110, 50), (250, 190, 170), (70, 50, 130), (150, 150, 150),
    (140, 200, 190), (255, 255, 255),
]  # fmt: skip
