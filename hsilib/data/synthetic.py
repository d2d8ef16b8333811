"""Embedded synthetic scenes, with which everything runs on a machine that holds no data.

They imitate what makes the real scenes hard: class spectra that nearly coincide in pairs, unlike parcels of
a class, mixed pixels at borders, noise, gaps, rare classes, and a training map made of whole parcels.
"""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

VERSION = 1  # part of a run's identity: raise it when a scene's pixels change

# name: (title, rows, columns, bands, classes, smallest and largest side of a parcel,
#        share of parcels labelled, share of labelled pixels that train)
SCENES = {
    "synthetic_fields": ("Synthetic fields (shape of Indian Pines)", 145, 145, 200, 16, 9, 26, 0.75, 0.55),
    "synthetic_urban": ("Synthetic urban (shape of Pavia University)", 610, 340, 103, 9, 7, 24, 0.35, 0.07),
    "synthetic_fields_small": ("Synthetic fields, small", 64, 64, 200, 8, 7, 14, 0.9, 0.30),
    "synthetic_urban_small": ("Synthetic urban, small", 64, 48, 103, 9, 5, 12, 0.9, 0.25),
}


def make(name: str) -> dict[str, Any]:
    """Build the fields of a scene from its name alone: the same arrays wherever numpy is the same."""
    title, h, w, bands, classes, low, high, labelled, share = SCENES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    boxes = sorted(_parcels(h, w, low, high, rng), key=lambda box: (box[1] - box[0]) * (box[3] - box[2]))
    kinds = _deal(len(boxes), classes, rng)

    land = np.zeros((h, w), int)  # every pixel's class, gaps included
    parcel = np.zeros((h, w), int)
    labels = np.zeros((h, w), np.uint8)
    kept = [[] for _ in range(classes)]
    for number, ((top, bottom, left, right), kind) in enumerate(zip(boxes, kinds)):
        land[top:bottom, left:right] = kind
        parcel[top:bottom, left:right] = number
        if len(kept[kind]) < 2 or rng.random() < labelled:  # two labelled parcels a class at least
            box = np.zeros((h, w), bool)
            box[top + 1 : bottom - 1, left + 1 : right - 1] = True  # a strip without label around each parcel
            labels[box] = kind + 1
            kept[kind].append(box)

    train = np.zeros((h, w), np.uint8)
    for kind, regions in enumerate(kept):
        want = max(3, round(share * sum(r.sum() for r in regions)))
        for place in rng.permutation(len(regions))[:-1]:  # the last parcel is never trained on
            room = want - (train == kind + 1).sum()
            pixels = np.flatnonzero(regions[place])[: max(room, 0)]
            train.flat[pixels] = kind + 1

    cube = _cube(land, parcel, classes, bands, rng)
    test = np.where(train > 0, 0, labels).astype(np.uint8) if "urban" in name else None
    rgb = (bands * 3 // 5, bands * 3 // 10, bands // 10)
    maps = dict(labels=labels, train_map=train, test_map=test)
    return dict(title=title, cube=cube, classes=named(name, classes), **maps, train_fraction=share, rgb=rgb)


def named(name: str, classes: int) -> tuple[str, ...]:
    """Return the names of so many classes of a scene."""
    return tuple(f"{'crop' if 'fields' in name else 'cover'} {i + 1}" for i in range(classes))


def _parcels(h, w, low, high, rng):
    """Cut the scene in two, again and again, along the longer side."""
    open_boxes, done = [(0, h, 0, w)], []
    while open_boxes:
        top, bottom, left, right = open_boxes.pop()
        tall, wide = bottom - top, right - left
        side = max(tall, wide)
        if side <= high and (side < 2 * low or rng.random() < 0.4):
            done.append((top, bottom, left, right))
            continue
        cut = int(np.clip(round(side * rng.uniform(0.35, 0.65)), low, side - low))
        if tall >= wide:
            open_boxes += [(top, top + cut, left, right), (top + cut, bottom, left, right)]
        else:
            open_boxes += [(top, bottom, left, left + cut), (top, bottom, left + cut, right)]
    return done


def _deal(parcels, classes, rng):
    """Deal a class to each parcel, smallest first: at least two to a class, the rest to common classes."""
    rare = np.repeat(rng.permutation(classes)[: classes // 3], 2)  # these get only small parcels
    common = np.setdiff1d(np.arange(classes), rare)
    rest = np.concatenate([common, common, rng.choice(common, parcels - len(rare) - 2 * len(common))])
    return np.concatenate([rare, rng.permutation(rest)])


def _smooth(count, bands, width, rng):
    """Draw smooth curves (count, bands) with a standard deviation of one."""
    curves = gaussian_filter(rng.normal(size=(count, bands)), (0, width), mode="nearest")
    return curves / curves.std(axis=1, keepdims=True)


def _cube(land, parcel, classes, bands, rng):
    """Compose the cube from class spectra, parcels, slow variation and noise."""
    h, w = land.shape
    pairs = np.repeat(_smooth(-(-classes // 2), bands, bands / 12, rng), 2, axis=0)[:classes]
    spectra = 3 + pairs + 0.20 * _smooth(classes, bands, bands / 20, rng)  # twins nearly coincide
    modes = _smooth(4, bands, bands / 10, rng)  # illumination, soil, moisture, growth
    by_parcel = rng.normal(size=(parcel.max() + 1, 4)) @ modes * 0.30  # no two fields of a crop are alike
    cube = np.zeros((h, w, bands), np.float32)
    for kind in range(classes):  # mixed pixels at the borders
        share = gaussian_filter((land == kind).astype(np.float32), 0.7)
        cube += share[..., None] * spectra[kind].astype(np.float32)
    cube += by_parcel[parcel].astype(np.float32)
    for mode in modes:  # slow variation across fields
        drift = gaussian_filter(rng.normal(size=(h, w)), 6)
        cube += (0.25 * drift / drift.std())[..., None].astype(np.float32) * mode.astype(np.float32)
    noise = (0.75 + 1.05 * np.abs(_smooth(1, bands, bands / 15, rng)[0])).astype(np.float32)
    return cube + rng.normal(size=cube.shape).astype(np.float32) * noise


def images() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Build the embedded set of images: (N, 32, 32, 3) bytes, labels from 0, and class names.

    Each class is a texture, in colours that vary from image to image.
    """
    rng, count, size = np.random.default_rng(7), 24, 32
    rows, columns = np.mgrid[:size, :size]
    pictures, classes = [], ("fields", "houses", "streets", "water")
    for kind in range(len(classes)):
        for _ in range(count):
            shift, period, angle = rng.uniform(0, size), rng.uniform(5, 9), rng.uniform(0, np.pi)
            along = np.cos(angle) * rows + np.sin(angle) * columns + shift
            across = np.cos(angle) * columns - np.sin(angle) * rows
            waves = [np.sin(2 * np.pi * along / period), np.sin(2 * np.pi * across / period)]
            texture = [
                np.sign(waves[0]), (np.maximum(*waves) < 0.3) * 2.0 - 1,
                (np.abs(along - along.mean()) < 2) * 2.0 - 1,
                gaussian_filter(rng.normal(size=(size, size)), 3) * 8,
            ][kind]
            tint, contrast = rng.uniform(70, 180, 3), rng.uniform(15, 50, 3)
            pictures.append(tint + contrast * texture[..., None] + rng.normal(0, 12, (size, size, 3)))
    return np.clip(pictures, 0, 255).astype(np.uint8), np.repeat(np.arange(len(classes)), count), classes
