"""Chapter 04, pruning: the criteria (one file each), the surgery, and the strategies of fine-tuning."""

from hsilib.registry import rooms

rooms(__name__, "l1 thinet slimming sfp lots")
