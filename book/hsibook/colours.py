"""Colours: one per method, the same in the whole book.  A method names its own where it is registered."""

from hsilib.methods import METHODS

# Okabe-Ito and Tol hues and greys, told apart by marker where a hue repeats; a family shares a hue range
HUES = {
    "black": "#000000", "dark": "#444444", "slate": "#555555", "grey": "#777777", "light": "#999999",
    "sky": "#56b4e9", "blue": "#0072b2", "green": "#009e73", "orange": "#e69f00", "red": "#d55e00",
    "pink": "#cc79a7", "indigo": "#332288", "olive": "#999933"
}
SPARE = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"]


def method_style(name: str) -> tuple[str, str]:
    """(colour, marker) of a method; one that names none gets a spare colour that depends only on its name."""
    if name in METHODS and METHODS[name].mark:
        hue, marker = METHODS[name].mark.split()
        return HUES[hue], marker
    return SPARE[sum(map(ord, name)) % len(SPARE)], "X"
