"""CA-MKD: three teachers, each heard as far as it is right on the sample at hand.

Zhang, Chen, Wang, Confidence-Aware Multi-Teacher Knowledge Distillation, ICASSP 2022; methods E.1.
"""

import torch
import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, epoch_of
from hsilib.methods.distill.fitnets import regressor
from hsilib.models.networks import WIDTHS
from hsilib.models.train import on_labels


def confidence(costs):
    """w_k = (1 - softmax_k(c_k)) / (K - 1): cross-entropies (K, B) -> weights (K, B); teachers sum to one"""
    return (1 - F.softmax(costs, 0)) / (len(costs) - 1)


FIELDS = dict(teachers=3, taps=("f2",), soft=1.0, feature=50.0, temperature=4.0)


@distillation("ca_mkd_balanced", "CA-MKD, balanced batches", "controls", mark="red X", balance=1.0, **FIELDS)
@distillation("ca_mkd", "CA-MKD", "offline", mark="red P", paper="CA-MKD", **FIELDS)
def ca_mkd(task, student, *teachers):
    """L = CE(z_s, y) + soft L_div + feature L_feat; the features join after the first epoch"""
    o, width = task.options, student.config["widths"][1]
    seeds = [task.seed(f"regressor{k}") for k in range(len(teachers))]
    embed = torch.nn.ModuleList(regressor(width, WIDTHS[0][1], seed, bias=True) for seed in seeds)
    embed.to(task.device)

    def weights(outputs, y):
        return confidence(torch.stack([F.cross_entropy(t.logits, y, reduction="none") for t in outputs]))

    def loss(model, batch):
        s, answers = model(batch.x), [teacher(batch.index) for teacher in teachers]
        weight = weights(answers, batch.y)
        log_s = F.log_softmax(s.logits / o.temperature, 1)
        logs = (F.log_softmax(t.logits / o.temperature, 1) for t in answers)
        kl = torch.stack([F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(1) for log_t in logs])
        # L_div = 1/(B K) sum_b sum_k w_k T^2 KL(p_tk || p_s)
        div = (weight * o.temperature**2 * kl).mean()
        terms = {"ce": on_labels(s.logits, batch.y), "kd": o.soft * div}
        if epoch_of(task, batch) > 1:
            maps = [g(s.taps["f2"]) for g in embed]
            weight = weights([teacher.net.head(g) for teacher, g in zip(teachers, maps)], batch.y)
            apart = torch.stack([(g - t.taps["f2"]).square().mean((1, 2, 3)) for g, t in zip(maps, answers)])
            # L_feat = 1/(B K) sum_b sum_k w'_k mean (g_k - f_tk)^2, w' not detached
            terms["feature"] = o.feature * (weight * apart).mean()
        return terms

    return loss, embed
