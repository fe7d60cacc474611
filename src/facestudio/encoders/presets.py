"""Sizes of the paper's towers: OpenAI's ViT-L/14, RN101 and ViT-B/32.

Source of the sizes: Radford et al., arXiv 2103.00020, tables 19 and 20.
"""

from __future__ import annotations

from facestudio.encoders.image_towers import ImageTowerConfig
from facestudio.encoders.text_towers import TextTowerConfig

PAPER_IMAGE_TOWERS = (
    ImageTowerConfig("vit", 224, output_dim=768, width=1024, layers=(24,), heads=16, patch=14),
    ImageTowerConfig("resnet", 224, output_dim=512, width=64, layers=(3, 4, 23, 3), heads=32),
    ImageTowerConfig("vit", 224, output_dim=512, width=768, layers=(12,), heads=12, patch=32),
)
PAPER_TEXT_TOWERS = (
    TextTowerConfig(output_dim=768, width=768, layers=12, heads=12),
    TextTowerConfig(output_dim=512, width=512, layers=12, heads=8),
    TextTowerConfig(output_dim=512, width=512, layers=12, heads=8),
)
