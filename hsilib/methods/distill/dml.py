"""Deep mutual learning: two networks that teach each other as they learn.

Zhang, Xiang, Hospedales, Lu, Deep Mutual Learning, CVPR 2018; methods E.2.
"""

from hsilib.methods.distill.distillation import distillation, kd, peers
from hsilib.models.train import on_labels


@distillation("dml", "DML", "online", mark="blue s", paper="DML")
def dml(task, student):
    """L_i = CE(z_i, y) + KL(p_j || p_i), each target held fixed; network 0 is the one reported"""
    (peer,) = peers(task, student, 1, share=False)

    def loss(model, batch):
        z = [net(batch.x).logits for net in (model, peer)]
        terms = {}
        for i in range(2):
            terms |= {f"ce{i}": on_labels(z[i], batch.y), f"kl{i}": kd(z[i], z[1 - i].detach(), 1.0)}
        return terms

    return loss, peer
