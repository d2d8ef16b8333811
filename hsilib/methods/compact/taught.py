"""Compact networks that learn from teachers of any kind, all of which see the same turned window.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2014; Beyer et al., Knowledge
distillation: A good teacher is patient and consistent, CVPR 2022; methods E.1 and J.
"""

import re
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import turned
from hsilib.errors import HsiError, known
from hsilib.methods.compact.compact import RECIPE, Look, build
from hsilib.methods.registry import dense, get, method
from hsilib.models.networks import CNN2D, WIDTHS
from hsilib.models.train import on_labels


def teachers(run):
    """Return the runs of the teachers that ``by`` names: ``lens_20k+3*perceptron`` are four of them."""
    found = []
    for word in dict(run.options)["by"].split("+"):
        times, _, name = word.rpartition("*")
        source = get(name)
        if not re.fullmatch("([1-9][0-9]?)?", times) or (times and "member" not in source.options):
            raise HsiError(f"{run.method}: `by` names teachers, such as lens_20k+3*perceptron, not {word!r}")
        found += [alone(run, name, **{"member": k} if times else {}) for k in range(int(times or 1))]
    return tuple(found)


def alone(run, name, **options):
    """Return the run of another method alone, on the same scene, split and seed, for as many epochs."""
    source = get(name)
    recipe = replace(run.recipe, epochs=max(1, round(run.recipe.epochs * source.epochs)))
    return replace(dense(run, name, **options), ratio=min(source.ratios), recipe=recipe)


@torch.no_grad()
def answers(net, task, temperature, views):
    """Return what a teacher softly says of each training pixel in each position: (views, N, K)."""
    inputs, pixels = task.inputs(net.kind), torch.from_numpy(task.split.train).to(task.device)
    net.eval()
    if not hasattr(net, "dense") or inputs.disk is not None:

        def said(view):
            parts = (inputs.samples(index) for index in pixels.split(500))
            return torch.cat([net(turned(x, view) if x.ndim == 4 else x).logits for x in parts])
    else:  # the window of a turned scene is the turned window of the scene
        image, places = inputs.padded.permute(2, 0, 1)[None], torch.arange(inputs.count, device=task.device)

        def said(view):
            logits = net.dense(turned(image, view)).flatten(1).T
            place = turned(places.view(1, 1, *inputs.shape), view).flatten()
            return torch.empty_like(logits).index_copy_(0, place, logits)[pixels]

    return F.softmax(torch.stack([said(view) for view in range(views)]) / temperature, 2)


def together(p, y, temperature, weigh):
    """Return what teachers say together, (views, N, K), from the answers of each, (T, views, N, K).

    It is their mean, or with ``weigh="right"`` each pixel's answers weighed by how right they are there, as
    in CA-MKD (Zhang, Chen, Wang, 2022): w_k = (1 - exp(CE_k) / sum_j exp(CE_j)) / (T - 1).
    """
    if known("weigh", weigh, ("alike", "right")) == "alike":
        return p.mean(0)
    logits = temperature * p.clamp(min=1e-30).log()  # but for a constant
    ce = -F.log_softmax(logits, 3).gather(3, y.expand(p.shape[:3])[..., None])
    return (p * (1 - ce.softmax(0)) / (len(p) - 1)).sum(0)


def taught(of, mark, name="", title="", family="", **more):
    """Register a method: the network of the method ``of`` learns from the teachers that ``by`` names.

    ``of`` is small by design, or a CNN2D of any size.  ``balance`` says how much more often rare classes
    come, as in ``network``; ``weigh`` how the teachers are.
    """
    source = get(of)
    sizes = {key: source.options[key] for key in source.config}

    def train(task):
        """It learns labels and the mean of what its teachers softly say of the same turned window:
        L = hard CE(z, y) + soft T^2 KL(p || p_z), p the mean of softmax(z_k / T) over teachers k."""
        o = task.options
        if source.network is None:
            student = task.network(CNN2D, widths=WIDTHS[task.run.ratio])
        else:
            student = build(task, source.network, sizes)
        look = Look(task, student)
        nets = [task.parent(run) for run in teachers(task.run)]
        if not all(isinstance(net, nn.Module) for net in nets):
            raise HsiError(f"`by` names networks, which {o.by} is not: its answers are no softmax")
        p = torch.stack([answers(net, task, o.temperature, look.views) for net in nets])
        p = together(p, look.data.y, o.temperature, getattr(o, "weigh", "alike"))

        def loss(model, batch):
            z = look(model, batch)
            target = p[look.view, batch.index]
            apart = F.kl_div(F.log_softmax(z / o.temperature, 1), target, reduction="batchmean")
            kd = o.soft * o.temperature**2 * apart
            return {"kd": kd} | ({"ce": o.hard * on_labels(z, batch.y)} if o.hard else {})

        return look.fit(student, loss=loss)

    words = dict(sees=source.sees, least=source.least, mark=mark, parents=teachers, ratios=source.ratios)
    # balance was chosen on the validation split (chapter 16): without it rare classes are lost
    options = dict(by="3*lens_20k", hard=0.1, soft=0.9, temperature=4.0, balance=0.5, augment="dihedral")
    options |= more | {key: source.options[key] for key in ("components", "pca_fit") if key in source.options}
    words |= dict(recipe=source.recipe or RECIPE, family=family or source.family)
    title = title or f"{source.title}, taught"
    method(name or f"{of}_taught", title=title, **words, **options, **sizes)(train)


taught("lens", "red P")
taught("lens_5k", "pink P")
taught("perceptron", "sky P")
taught("lens", "pink D", "lens_ca_mkd", "Lens, taught as by CA-MKD", weigh="right")
# the rivals: the paper's networks learn from the same teachers in the same way
taught("scratch", "grey P", title="Narrow CNN2D, taught", family="controls")
taught("cnn2d", "red <", title="CNN2D, taught", family="controls")
