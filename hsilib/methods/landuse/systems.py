"""Land use from RGB images: two systems of the literature, with the losses and the loop of this library.

VGG16 teaches MobileNetV2 by KL and cosine (methods E.4), and G-GhostNet by decoupled distillation (methods
E.5, F).  All images are trained on in their eight positions, so that an epoch of the recipe is eight passes;
the teacher's answer to each position is computed once.
"""

from hsilib.methods.distill.cosine import kl_cosine
from hsilib.methods.distill.decoupled import decoupled
from hsilib.methods.distill.distillation import recorded
from hsilib.methods.distill.soft_targets import soft_targets
from hsilib.methods.landuse.networks import VGG16, GGhostNet, MobileNetV2
from hsilib.methods.registry import dense, method
from hsilib.models.train import cross_entropy

PASSES = 0.4  # of the recipe's epochs, each of which is eight passes here


def landuse(name, title, network, build=None, *, config, **options):
    """Register an image network: trained on labels, or taught by VGG16 with the loss that ``build`` makes.

    config: the options that are arguments of the network; the others are those of the loss, and the ``share``
    of the passes.
    """

    def teachers(run):
        return (dense(run, "vgg16", size=dict(run.options)["size"]),) if build else ()

    def train(task):
        net = task.network(network, **{key: getattr(task.options, key) for key in config})
        taught_by = recorded(task, task.data(net), teachers(task.run))
        share = getattr(task.options, "share", 1.0)
        return task.fit(net, share, loss=build(task, net, *taught_by) if build else cross_entropy)

    taught = f"taught by VGG16: {build.__doc__}" if build else "from labels alone."
    train.__doc__ = f"{network.__name__} on images, {taught}"
    fields = dict(parents=teachers, epochs=PASSES, network=network, config=config)
    method(name, "landuse", title, size=64, **fields, **options)(train)


landuse("vgg16", "VGG16", VGG16, mark="red o", config=("width", "head"), width=0.5, head="pool", share=0.5)

mobile = dict(network=MobileNetV2, config=("width",), width=0.5)
landuse("mobilenet", "MobileNetV2, labels only", mark="black o", **mobile)
landuse("mobilenet_kl", "MobileNetV2, KL", mark="blue s",
        build=kl_cosine, hard=0.5, kl=1.0, temperature=4.0, **mobile)
landuse("mobilenet_cosine", "MobileNetV2, cosine", mark="orange ^",
        build=kl_cosine, hard=0.5, kl=0.0, temperature=4.0, **mobile)
landuse("mobilenet_kl_cosine", "MobileNetV2, KL + cosine", mark="indigo X",
        build=kl_cosine, hard=0.5, kl=0.5, temperature=4.0, **mobile)

ghost = dict(network=GGhostNet, config=("variant",), variant="0.2")
landuse("ghost", "G-GhostNet, labels only", mark="grey D", **ghost)
landuse("ghost_kd", "G-GhostNet, plain KD", mark="sky v",
        build=soft_targets, hard=0.1, soft=0.9, temperature=4.0, **ghost)
landuse("ghost_dkd", "G-GhostNet, decoupled KD", mark="olive h",
        build=decoupled, target=1.0, others=6.0, temperature=4.0, warm_up=20 / 300, **ghost)
