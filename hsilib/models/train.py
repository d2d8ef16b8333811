"""The one training loop.  Methods differ in the loss they hand to it, not in how they are trained."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import Images, Inputs, turned
from hsilib.data.splits import Split
from hsilib.errors import HsiError
from hsilib.identity import Recipe


class Batch(NamedTuple):
    """What a loss is given besides the model.

    >>> batch = Batch(torch.arange(2), torch.rand(2, 103), torch.tensor([0, 1]), progress=0.5)
    """

    index: torch.Tensor  # (B,) positions in the training set, for methods that store something per sample
    x: torch.Tensor  # (B, C, 19, 19) or (B, C)
    y: torch.Tensor  # (B,)
    progress: float  # epochs done, fraction included, over all epochs


class TrainingSet(NamedTuple):
    """The training pixels: a function that gathers inputs, and the classes."""

    x: Callable[[torch.Tensor], torch.Tensor]  # positions (B,) -> inputs, made on demand
    y: torch.Tensor  # (N,)


Loss = Callable[[nn.Module, Batch], dict[str, torch.Tensor]]
Draw = Callable[[int, torch.Generator], torch.Tensor]  # number of training pixels -> positions of an epoch


def training_set(inputs: Inputs | Images, split: Split) -> TrainingSet:
    """Return the split's training pixels, which are gathered from the scene batch by batch.

    >>> scene = load_scene("synthetic_urban_small")
    >>> split = split_of(scene, "random")
    >>> data = training_set(make_inputs(scene, split, "bands"), split)
    >>> data.x(torch.arange(3)).shape
    torch.Size([3, 103])
    """
    device = inputs.pixels.device
    pixels, y = (torch.from_numpy(a).to(device) for a in (split.train, split.train_y))
    pixels = torch.cat([turn * len(inputs.pixels) + pixels for turn in range(inputs.turns)])
    return TrainingSet(lambda position: inputs.samples(pixels[position]), y.repeat(inputs.turns))


def on_labels(logits: torch.Tensor, y: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return what every method loses on labels (B,): another loss for all of them is written here."""
    return F.cross_entropy(logits, y, label_smoothing=smoothing)


def cross_entropy(model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the usual loss on labels, as the one term ``ce``.

    >>> batch = Batch(torch.arange(2), torch.rand(2, 103), torch.tensor([0, 1]), progress=0.5)
    >>> list(cross_entropy(MLP(103, 9), batch))
    ['ce']
    """
    return {"ce": on_labels(model(batch.x).logits, batch.y)}


def check(terms: dict[str, torch.Tensor]) -> None:
    """Refuse in one line what a loss must not return."""
    if not isinstance(terms, dict) or not terms:
        raise HsiError(f'a loss must return named terms, such as {{"ce": ...}}, not {type(terms).__name__}')
    for name, value in terms.items():
        if not torch.is_tensor(value) or value.ndim:
            shape = f"of shape {tuple(value.shape)}; take its mean" if torch.is_tensor(value) else ""
            says = f"term {name} of the loss must be a tensor of one number"
            raise HsiError(f"{says}, not {shape or type(value).__name__}")
    if not any(value.requires_grad for value in terms.values()):
        names = ", ".join(terms)
        raise HsiError(f"no term of the loss ({names}) depends on the network: nothing would be learned")


def means(seen: dict[str, list[tuple[torch.Tensor, int]]], count: int, epoch: int) -> dict[str, float]:
    """Return the mean of each loss term over the samples of an epoch; one that is not finite is refused."""
    terms = {name: torch.stack([value.float() for value, _ in seen[name]]).tolist() for name in seen}
    broken = [(step, name) for name in terms for step, x in enumerate(terms[name]) if not math.isfinite(x)]
    if broken:
        name = min(broken, key=lambda pair: pair[0])[1]  # which was first; then all are
        says = "lower the rate or check the loss"
        raise HsiError(f"training diverged in epoch {epoch + 1}: {name} is not finite; {says}")
    return {name: sum(x * size for x, (_, size) in zip(terms[name], seen[name])) / count for name in terms}


def shuffled(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw the order of an epoch in which each training pixel comes once."""
    return torch.randperm(count, generator=generator)


def balanced(y: torch.Tensor, power: float) -> Draw:
    """Return a function that draws epochs in which rare classes come more often.

    A class of n pixels is drawn in proportion to n ** (1 - power): as it comes at 0, all classes equally
    often at 1.  Pixels of rare classes come back and some of common ones are left out; the epoch is as long.
    """
    share = torch.bincount(y)[y].double().pow(-power).cpu()
    return lambda count, generator: torch.multinomial(share, count, replacement=True, generator=generator)


def fit(
    model: nn.Module, data: TrainingSet, recipe: Recipe, seed: int, loss: Loss = cross_entropy,
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
    extra: Iterable[nn.Module] = (), after_epoch: Callable[[nn.Module, int], None] | None = None,
    draw: Draw = shuffled,
) -> list[dict[str, float]]:
    """Train in place, and return the mean of each loss term per epoch, ``[{"ce": 1.2}, ...]``.

    ``loss(model, batch)`` returns named terms, which are summed.  ``augment(x, generator)`` changes a batch.
    ``extra`` are auxiliary modules that train along and are thrown away.  ``after_epoch(model, epoch)`` may
    change weights, as soft pruning does.  ``draw(count, generator)`` gives the order of an epoch.

    >>> scene = load_scene("synthetic_urban_small")
    >>> split = split_of(scene, "random")
    >>> model = initialise(MLP(103, 9), seed=0)
    >>> data = training_set(make_inputs(scene, split, "bands"), split)
    >>> len(fit(model, data, Recipe(epochs=2), seed=0))
    2
    """
    device = data.y.device
    count = len(data.y)
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the process, whatever that did before
    modules = torch.nn.ModuleList([model, *extra]).train()
    weights = [p for p in modules.parameters() if p.requires_grad]  # modules may share some
    if recipe.schedule == "sgd_waves":
        optimizer = torch.optim.SGD(weights, lr=recipe.lr, momentum=0.9, weight_decay=1e-4, fused=True)
    else:
        optimizer = torch.optim.AdamW if recipe.schedule == "one_cycle" else torch.optim.Adam
        optimizer = optimizer(weights, lr=recipe.lr, fused=True)
    per_epoch = math.ceil(count / recipe.batch)
    history, step, total = [], 0, recipe.epochs * per_epoch
    for epoch in range(recipe.epochs):
        seen = {}  # read once an epoch: a GPU need not wait for each number
        for index in draw(count, order).to(device).split(recipe.batch):
            optimizer.param_groups[0]["lr"] = rate(recipe, epoch, step, total)
            step += 1
            if len(index) < 2:
                continue  # batch norm needs two
            x = data.x(index)
            if augment is not None:
                x = augment(x, order)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                terms = loss(model, Batch(index, x, data.y[index], step / per_epoch / recipe.epochs))
            if step == 1:
                check(terms)
            optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            optimizer.step()
            for name, value in terms.items():
                seen.setdefault(name, []).append((value.detach(), len(index)))
        history.append(means(seen, count, epoch))
        if after_epoch is not None:
            after_epoch(model, epoch)
    modules.eval()
    return history


def rate(recipe, epoch, step, total):
    """Return the rate of a step, along the recipe's schedule.

    "one_cycle" (Smith, Topin, 2018) rises from 4 % in the first 30 % of all steps.
    """
    done, up, first = step / total, 0.3, 0.04
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "one_cycle" and done < up:
        return recipe.lr * (first + (1 - first) * 0.5 * (1 - math.cos(math.pi * done / up)))
    if recipe.schedule == "one_cycle":
        angle = math.pi * (done - up) / (1 - up)
    else:
        angle = math.pi * step / total if recipe.schedule == "cosine" else math.pi * epoch / 15
    return recipe.lr * 0.5 * (1 + math.cos(angle))


def flips_and_rotations(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn each patch by a random element of the square's eight symmetries.

    >>> flips_and_rotations(torch.rand(2, 40, 19, 19), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 40, 19, 19])
    """
    return turned_by(x, torch.randint(8, (len(x),), generator=generator).to(x.device))


VIEWS = {"none": None, "dihedral": flips_and_rotations}  # how windows are turned while training


def turned_by(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Turn each patch by the element of the square's eight symmetries that ``which`` (B,) names."""
    count, channels, span, _ = x.shape
    cells = turns(span, x.device)[which]  # (B, span^2)
    flat = x.permute(0, 2, 3, 1).reshape(count, span**2, channels)
    flat = flat[torch.arange(count, device=x.device)[:, None], cells]
    return flat.view(count, span, span, channels).permute(0, 3, 1, 2)


def turns(span: int, device: torch.device) -> torch.Tensor:
    """Return (8, span^2): which cell of a patch comes to each place when it is turned."""
    cells = torch.arange(span**2, device=device).view(1, 1, span, span)
    return torch.stack([turned(cells, element).flatten() for element in range(8)])


def flips_and_crops(x: torch.Tensor, generator: torch.Generator, pad: int = 2) -> torch.Tensor:
    """Turn or mirror each patch, then move it by up to ``pad`` pixels; zeros come in at the border."""
    x = F.pad(flips_and_rotations(x, generator), (pad,) * 4)
    top, left = (torch.randint(2 * pad + 1, (len(x),), generator=generator).tolist() for _ in range(2))
    span = x.shape[2] - 2 * pad
    return torch.stack([patch[:, i : i + span, j : j + span] for patch, i, j in zip(x, top, left)])
