"""Chapter 04, pruning: which channels stay (one file a criterion), the surgery, and the strategies of fine-tuning."""

from hsilib.registry import rooms

rooms(__name__, "l1 thinet slimming sfp lots")
