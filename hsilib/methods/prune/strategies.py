"""The three strategies of fine-tuning (methods C.2, Table 9): a network is cut in one or several passes, and
tuned after each.  Here are the widths alone: ``criterion`` cuts and tunes; training from scratch is in
``baselines.networks``.

A strategy is a function of the widths a network has and those it is to have, to the widths after every pass.
"""

Widths = tuple[int, ...]  # channels of conv1, conv2 and fc1


def one_shot(now: Widths, goal: Widths) -> list[Widths]:
    """Strategy I cuts all layers at once.  Each strategy returns the widths that its passes aim at."""
    return [goal]


def layer_by_layer(now: Widths, goal: Widths) -> list[Widths]:
    """Strategy II cuts conv1 and fine-tunes, then conv2, then fc1."""
    return [goal[:done] + now[done:] for done in range(1, len(goal) + 1)]


def multi_pass(now: Widths, goal: Widths, passes: int = 3) -> list[Widths]:
    """Strategy III cuts all layers by the same factor several times: widths fall geometrically."""
    shares = [number / passes for number in range(1, passes + 1)]
    return [tuple(round(n * (g / n) ** share) for n, g in zip(now, goal)) for share in shares]
