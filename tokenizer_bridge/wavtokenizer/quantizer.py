"""The single codebook: nearest neighbour in Euclidean distance, moved by running averages."""

import torch
import torch.nn.functional as F
from torch import nn


class Codebook(nn.Module):
    """`size` vectors of `dim` values and the running sums that training keeps beside them."""

    inited: torch.Tensor
    cluster_size: torch.Tensor
    embed: torch.Tensor
    embed_avg: torch.Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", torch.zeros(size, dim))
        self.register_buffer("embed_avg", torch.zeros(size, dim))

    def nearest(self, z_NxC: torch.Tensor) -> torch.Tensor:
        """Index of the vector nearest to each row, int64 (N,); ‖z‖² does not change which it is."""
        return (z_NxC @ (2 * self.embed.T) - self.embed.square().sum(1)).argmax(1)

    @torch.no_grad()
    def initialise(
        self,
        z_NxC: torch.Tensor,
        lloyd_steps: int,
        generator: torch.Generator,
        mean_size: float = 1.0,
    ) -> None:
        """Starts from rows of `z` (N ≥ size) drawn without repeats, then a few Lloyd steps.

        mean_size: rows a code will have in a batch, on average, so that the running averages start
        where they will be.
        """
        size = len(self.embed)
        rows = torch.randperm(len(z_NxC), generator=generator)[:size].to(z_NxC.device)
        self.embed.copy_(z_NxC[rows])
        for _ in range(lloyd_steps):
            counts, sums = self._assign(z_NxC)
            occupied = counts > 0
            self.embed[occupied] = sums[occupied] / counts[occupied, None]
        self.cluster_size.fill_(mean_size)
        self.embed_avg.copy_(self.embed * mean_size)
        self.inited.fill_(1.0)

    @torch.no_grad()
    def update(
        self,
        z_NxC: torch.Tensor,
        codes_N: torch.Tensor,
        decay: float,
        dead_below: float,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """One step of the running averages (van den Oord et al. 2017, appendix A.1).

        A code whose running share of the rows fell under `dead_below` times the mean share moves
        to a random row of `z` and starts afresh with the mean share. The published rule (fewer
        than two rows a batch) would expire nearly every code when a batch has fewer rows than the
        codebook, and its replacement is overwritten by the old running sum: both are set here.

        Args:
          z_NxC: encoder output of this batch; codes_N: its codes.

        Returns:
          How many codes were moved, a scalar that stays on the device.
        """
        counts, sums = self._assign(z_NxC, codes_N)
        self.cluster_size.lerp_(counts, 1 - decay)
        self.embed_avg.lerp_(sums, 1 - decay)
        mean = self.cluster_size.mean()
        dead = self.cluster_size < dead_below * mean
        order = dead.cumsum(0)  # a few at a time, so that one batch does not rule
        moved = dead & (order <= len(z_NxC) // 8)
        rows = torch.randperm(len(z_NxC), generator=generator).to(z_NxC.device)
        # Without asking how many there are, which would make a GPU wait.
        new = z_NxC[rows[(order - 1).clamp(0, len(rows) - 1)]]
        self.cluster_size.copy_(torch.where(moved, mean, self.cluster_size))
        self.embed_avg.copy_(torch.where(moved[:, None], mean * new, self.embed_avg))
        self.embed.copy_(self.embed_avg / self.cluster_size.clamp_min(1e-8)[:, None])
        return moved.sum()

    def _assign(self, z_NxC: torch.Tensor, codes_N: torch.Tensor | None = None):
        codes_N = self.nearest(z_NxC) if codes_N is None else codes_N
        counts = torch.zeros_like(self.cluster_size)
        counts.index_add_(0, codes_N, torch.ones_like(z_NxC[:, 0]))
        sums = torch.zeros_like(self.embed).index_add_(0, codes_N, z_NxC)
        return counts, sums


class SingleCodebookVQ(nn.Module):
    """Vector quantiser with one codebook, under the names of the published residual quantiser."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        layer = nn.ModuleDict({"_codebook": Codebook(size, dim)})
        self.vq = nn.ModuleDict({"layers": nn.ModuleList([layer])})

    @property
    def codebook(self) -> Codebook:
        return self.vq["layers"][0]["_codebook"]

    def encode(self, z_BxCxL: torch.Tensor) -> torch.Tensor:
        """(B, C, L) vectors to int64 codes (B, L)."""
        B, C, L = z_BxCxL.shape
        z_NxC = z_BxCxL.transpose(1, 2).reshape(B * L, C)
        return self.codebook.nearest(z_NxC).reshape(B, L)

    def decode(self, codes_BxL: torch.Tensor) -> torch.Tensor:
        """Codes (B, L) to their vectors (B, C, L)."""
        return F.embedding(codes_BxL, self.codebook.embed).transpose(1, 2)
