"""The three strategies of fine-tuning (methods C.2, Table 9): a network is cut in one or several passes, and
tuned after each.  Here are the widths alone: ``criterion`` cuts and tunes.

A strategy is a function of the widths (conv1, conv2, fc1) that a network has and is to have, to those after
every pass.
"""


def one_shot(now, goal):
    """Strategy I cuts all layers at once."""
    return [goal]


def layer_by_layer(now, goal):
    """Strategy II cuts conv1 and fine-tunes, then conv2, then fc1."""
    return [goal[:done] + now[done:] for done in range(1, len(goal) + 1)]


def multi_pass(now, goal, passes=3):
    """Strategy III cuts all layers by the same factor several times: widths fall geometrically."""
    shares = [number / passes for number in range(1, passes + 1)]
    return [tuple(round(n * (g / n) ** share) for n, g in zip(now, goal)) for share in shares]
