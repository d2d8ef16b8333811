"""CA-MKD: three teachers, each heard as far as it is right on the sample at hand.

Zhang, Chen, Wang, Confidence-Aware Multi-Teacher Knowledge Distillation, ICASSP 2022; methods E.1.
"""

import torch
import torch.nn.functional as F

from hsilib.distill.distillation import distillation
from hsilib.distill.fitnets import regressor
from hsilib.distill.parts import epoch_of
from hsilib.models.networks import WIDTHS


def confidence(costs):
    """w_k = (1 - softmax_k(c_k)) / (K - 1): (K, B) cross-entropies -> weights (K, B) that sum to one over the teachers"""
    return (1 - F.softmax(costs, 0)) / (len(costs) - 1)


ABOUT = dict(teachers=3, taps=("f2",), soft=1.0, feature=50.0, temperature=4.0)


@distillation("ca_mkd_balanced", "CA-MKD, balanced batches", "controls", mark="red X", balance=1.0, **ABOUT)
@distillation("ca_mkd", "CA-MKD", "offline", mark="red P", paper="CA-MKD", **ABOUT)
def ca_mkd(task, student, *teachers):
    """L = CE(z_s, y) + soft L_div + feature L_feat; the features join after the first epoch"""
    o, count, width = task.options, len(teachers), student.config["widths"][1]
    embed = torch.nn.ModuleList(
        regressor(width, WIDTHS[0][1], task.seed(f"regressor{k}"), bias=True) for k in range(count)
    )
    embed.to(task.device)

    def loss(model, batch):
        s, known = model(batch.x), [t(batch.index) for t in teachers]
        costs = torch.stack([F.cross_entropy(t.logits, batch.y, reduction="none") for t in known])
        student_log = F.log_softmax(s.logits / o.temperature, 1)
        logs = (F.log_softmax(t.logits / o.temperature, 1) for t in known)
        kl = torch.stack(
            [F.kl_div(student_log, log, reduction="none", log_target=True).sum(1) for log in logs]
        )
        # L_div = 1/(B K) sum_b sum_k w_k T^2 KL(p_tk || p_s)
        terms = {
            "ce": F.cross_entropy(s.logits, batch.y),
            "kd": o.soft * (confidence(costs) * o.temperature**2 * kl).mean(),
        }
        if epoch_of(task, batch) > 1:
            seen = [g(s.taps["f2"]) for g in embed]
            costs = [
                F.cross_entropy(t.net.head(g).logits, batch.y, reduction="none")
                for t, g in zip(teachers, seen)
            ]
            apart = torch.stack([(g - t.taps["f2"]).square().mean((1, 2, 3)) for g, t in zip(seen, known)])
            # L_feat = 1/(B K) sum_b sum_k w'_k mean (g_k - f_tk)^2, w' not detached
            terms["feature"] = o.feature * (confidence(torch.stack(costs)) * apart).mean()
        return terms

    return loss, embed
