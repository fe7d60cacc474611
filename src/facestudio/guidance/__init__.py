"""Vectors become cross-attention tokens; tokens reach the positions they belong to."""

from facestudio.guidance.attention import (
    GuidanceContext,
    RegionAttention,
    install_region_attention,
    remove_region_attention,
)
from facestudio.guidance.hybrid import HybridGuidance, blend

__all__ = [
    "GuidanceContext",
    "HybridGuidance",
    "RegionAttention",
    "blend",
    "install_region_attention",
    "remove_region_attention",
]
