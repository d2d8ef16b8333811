"""Chapters 06 to 08, distillation: small networks taught by a trained one, by each other, or by themselves.

One file holds one method.
"""

from hsilib.registry import rooms

OFFLINE = "soft_targets fitnets attention congruence simkd ca_mkd cosine decoupled"
ONLINE = "dml one cl_ilr okddip"
SELF = "tf_kd cs_kd ps_kd ddgsd"
rooms(__name__, f"{OFFLINE} {ONLINE} {SELF}")
