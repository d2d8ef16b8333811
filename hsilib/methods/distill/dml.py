"""Deep mutual learning: two networks that teach each other as they learn.

Zhang, Xiang, Hospedales, Lu, Deep Mutual Learning, CVPR 2018; methods E.2.
"""

from hsilib.methods.distill.distillation import LossAndModules, distillation
from hsilib.methods.distill.parts import kd, peers
from hsilib.methods.task import Task
from hsilib.models.networks import CNN2D
from hsilib.models.train import on_labels


@distillation("dml", "DML", "online", mark="blue s", paper="DML")
def dml(task: Task, student: CNN2D) -> LossAndModules:
    """L_i = CE(z_i, y) + KL(p_j || p_i), each target held fixed; network 0 is the one reported"""
    (peer,) = peers(task, student, 1, share=False)

    def loss(model, batch):
        z = [net(batch.x).logits for net in (model, peer)]
        terms = {}
        for i, (mine, other) in enumerate((z, z[::-1])):
            terms |= {f"ce{i}": on_labels(mine, batch.y), f"kl{i}": kd(mine, other.detach(), 1.0)}
        return terms

    return loss, peer
