"""Chapters 06 to 08, distillation: small networks taught by a trained one, by each other, or by themselves.

One file holds one method.
"""

from . import soft_targets, fitnets, attention, congruence, simkd, ca_mkd, cosine, decoupled  # offline
from . import dml, one, cl_ilr, okddip  # online
from . import tf_kd, cs_kd, ps_kd, ddgsd  # self
