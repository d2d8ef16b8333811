"""Colours: one per class and one per method, the same in the whole book."""

# Index 0 is unlabelled.  Ordered so that neighbours in the list differ in lightness, and so also in grey.
CLASSES = [
    (24, 24, 24), (230, 159, 0), (0, 90, 160), (240, 228, 66), (0, 158, 115), (213, 94, 0), (86, 180, 233), (160, 60, 110),
    (190, 220, 120), (110, 60, 20), (204, 170, 220), (40, 110, 50), (250, 190, 170), (70, 50, 130), (150, 150, 150),
    (140, 200, 190), (255, 105, 180),
]  # fmt: skip

CLASSES += [tuple(round(0.55 * c + 0.45 * 255) for c in colour) for colour in CLASSES[1:16]]  # paler, for more classes

# Okabe-Ito hues, told apart by marker where a hue repeats.  A family shares a hue range, a method keeps its own.
METHODS = {
    "rf": ("#999999", "s"),
    "mlr": ("#777777", "v"),
    "svm": ("#555555", "^"),
    "mlp": ("#56b4e9", "o"),
    "lstm": ("#0072b2", "D"),
    "lstm_review": ("#0072b2", "d"),
    "cnn1d": ("#009e73", "o"),
    "cnn2d_c1": ("#e69f00", "s"),
    "cnn2d": ("#d55e00", "o"),
    "cnn3d": ("#cc79a7", "P"),
    "scratch": ("#000000", "o"),
    "scratch_b": ("#444444", "D"),
    "scratch_aug": ("#777777", "^"),
    "cnn2d_sparse": ("#d55e00", "s"),
    "l1": ("#0072b2", "o"),
    "l1_iterative": ("#0072b2", "^"),
    "l1_multipass": ("#56b4e9", "v"),
    "l1_short": ("#56b4e9", "D"),
    "lots": ("#999999", "X"),
    "thinet": ("#e69f00", "s"),
    "slimming": ("#009e73", "D"),
    "sfp": ("#cc79a7", "P"),
    "dynamic": ("#e69f00", "v"),
    "static": ("#0072b2", "s"),
    "qat": ("#009e73", "^"),
    "further": ("#777777", "D"),
    "scratch_crops": ("#777777", "v"),
    "label_smoothing": ("#999999", "s"),
    "cnn2d_balanced": ("#d55e00", "^"),
    "scratch_balanced": ("#444444", "P"),
    "ca_mkd_balanced": ("#d55e00", "X"),
    "cnn2d_member": ("#d55e00", "D"),
    "soft_targets": ("#0072b2", "o"),
    "fitnets": ("#e69f00", "s"),
    "attention_transfer": ("#009e73", "^"),
    "correlation_congruence": ("#cc79a7", "D"),
    "simkd": ("#56b4e9", "v"),
    "ca_mkd": ("#d55e00", "P"),
    "kl_cosine": ("#332288", "X"),
    "dkd": ("#999933", "h"),
    "dml": ("#0072b2", "s"),
    "one": ("#e69f00", "^"),
    "cl_ilr": ("#009e73", "D"),
    "okddip": ("#cc79a7", "v"),
    "tf_kd": ("#0072b2", "^"),
    "cs_kd": ("#e69f00", "D"),
    "ps_kd": ("#009e73", "v"),
    "ddgsd": ("#cc79a7", "o"),
    "vgg16": ("#d55e00", "o"),
    "mobilenet": ("#000000", "o"),
    "mobilenet_kl": ("#0072b2", "s"),
    "mobilenet_cosine": ("#e69f00", "^"),
    "mobilenet_kl_cosine": ("#332288", "X"),
    "ghost": ("#777777", "D"),
    "ghost_kd": ("#56b4e9", "v"),
    "ghost_dkd": ("#999933", "h"),
}
SPARE = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"]


def method_style(name):
    """(colour, marker) of a method; a method from a notebook gets a spare colour that depends only on its name."""
    if name in METHODS:
        return METHODS[name]
    return SPARE[sum(map(ord, name)) % len(SPARE)], "X"
