"""The prior brings text vectors into the space of style vectors: `e_T = Prior(CLIP_T(T))`.

A small diffusion model over one vector, after DALL-E 2 (Ramesh et al., arXiv 2204.06125, section
2.2): diffusers' PriorTransformer reads the text vector, the time and the noised style vector and
predicts the clean one. FaceStudio (arXiv 2312.02663), section 3.1, trains it beforehand and leaves
its size open; ECLIPSE (arXiv 2312.04655) shows that 33 million parameters suffice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, DDIMScheduler, ModelMixin, PriorTransformer
from diffusers.configuration_utils import register_to_config
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional as F

from facestudio.encoders.vectors import to_unit_rms_per_tower
from facestudio.errors import BadOption, EncoderMismatch

TRAIN_STEPS = 1000


class EmbeddingPrior(ModelMixin, ConfigMixin):
    """Turn text vectors (B, text_dim) into style vectors (B, sum(tower_dims)), RMS 1 per tower.

    `tower_dims` are the image towers' dimensions; `drop_text` is how often training hides the text
    (zeros), which makes `guidance` possible.
    """

    @register_to_config
    def __init__(
        self,
        text_dim: int,
        tower_dims: Sequence[int],
        width: int = 512,
        layers: int = 6,
        heads: int = 8,
        drop_text: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadOption(f"prior: heads must divide width {width}, found {heads}")
        self.tower_dims = tuple(tower_dims)
        self.style_dim = sum(self.tower_dims)
        self.text_dim = text_dim
        self.drop_text = drop_text
        self.denoiser = PriorTransformer(
            num_attention_heads=heads,
            attention_head_dim=width // heads,
            num_layers=layers,
            embedding_dim=self.style_dim,
            embedding_proj_dim=text_dim,
            num_embeddings=0,  # the pooled text vector is the only text token
            encoder_hid_proj_type=None,
        )
        self.denoiser.clip_mean.requires_grad_(False)
        self.denoiser.clip_std.requires_grad_(False).fill_(1.0)

    def fit_scale(self, style: Tensor) -> None:
        """Centre the diffusion on the training set's style vectors (N, style_dim), once, before.

        CLIP vectors fill a narrow cone: else most of the signal would be its constant axis.
        One factor scales all numbers, so that directions stay what they are.
        """
        self._check(style, self.style_dim, "style")
        mean = style.float().mean(dim=0, keepdim=True)
        spread = (style.float() - mean).square().mean().sqrt().clamp(min=1e-3)
        self.denoiser.clip_mean.data.copy_(mean)
        self.denoiser.clip_std.data.fill_(float(spread))

    def forward(self, noised: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The clean vectors (B, style_dim), centred and scaled, predicted from noised ones."""
        return self.denoiser(noised, timesteps, proj_embedding=text, return_dict=False)[0]

    def loss(self, text: Tensor, style: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean squared error of the predicted clean vectors at random times, a scalar."""
        self._check(text, self.text_dim, "text")
        self._check(style, self.style_dim, "style")
        return self.loss_at(text, style, *self.draw(style, generator))

    def draw(
        self, style: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the loss draws: noise (B, style_dim), times (B,), and whether the text is kept."""
        size, device = len(style), style.device
        where = device if generator is None else generator.device
        noise = randn_tensor(style.shape, generator, device, style.dtype)
        times = torch.randint(TRAIN_STEPS, (size,), generator=generator, device=where).to(device)
        kept = torch.rand(size, 1, generator=generator, device=where).to(device) >= self.drop_text
        return noise, times, kept

    def loss_at(
        self, text: Tensor, style: Tensor, noise: Tensor, times: Tensor, kept: Tensor
    ) -> Tensor:
        """The loss with what `draw` drew."""
        clean = (style - self.denoiser.clip_mean) / self.denoiser.clip_std
        noised = _make_scheduler().add_noise(clean, noise, times)
        return F.mse_loss(self(noised, times, text * kept), clean)

    @torch.no_grad()
    def sample(
        self,
        text: Tensor,
        steps: int = 8,
        generator: torch.Generator | list[torch.Generator] | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """Style vectors (B, style_dim) that fit the text vectors (B, text_dim), by DDIM.

        The same generator gives the same vectors; a list holds one for each. `guidance` over 1
        follows the words more closely (twice the work). Raises BadOption and EncoderMismatch.
        """
        self._check(text, self.text_dim, "text")
        if not 1 <= steps <= TRAIN_STEPS:
            raise BadOption(f"prior steps must be 1 to {TRAIN_STEPS}, found {steps}")
        scheduler, text = _make_scheduler(), text.to(self.dtype)
        scheduler.set_timesteps(steps, device=text.device)
        x = randn_tensor((len(text), self.style_dim), generator, text.device, text.dtype)
        for time in scheduler.timesteps:
            x = scheduler.step(self._guided(x, time, text, guidance), time, x).prev_sample
        return to_unit_rms_per_tower(self.denoiser.post_process_latents(x), self.tower_dims)

    def _guided(self, x: Tensor, time: Tensor, text: Tensor, guidance: float) -> Tensor:
        with_text = self(x, time, text)
        if guidance == 1.0:
            return with_text
        without = self(x, time, torch.zeros_like(text))
        return without + guidance * (with_text - without)

    def _check(self, vectors: Tensor, dimension: int, name: str) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != dimension:
            raise EncoderMismatch(
                f"{name} vectors have shape {tuple(vectors.shape)}; this prior takes "
                f"(batch, {dimension})",
                hint="use the towers it was trained with",
            )


def _make_scheduler() -> DDIMScheduler:
    """DALL-E 2's cosine noise schedule; new at each call, since it keeps the steps it was set."""
    return DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
    )
