"""Chapter 04, pruning: the criteria (one file each), the surgery, and the strategies of fine-tuning."""

from . import l1, thinet, slimming, sfp, lots
