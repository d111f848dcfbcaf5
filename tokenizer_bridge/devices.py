"""Networks to a device by its name, and what there is to run on."""

import os

import torch
from torch import nn

from tokenizer_bridge.token_dataset.errors import UserError


def available_cores() -> int:
    """Cores that this process may use: fewer than there are, where a job has a share of them."""
    return len(os.sched_getaffinity(0))


def move_to(network: nn.Module, device: str | torch.device) -> nn.Module:
    """The network on a device. Raises UserError, naming it, if it cannot be used."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        return network.to(device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on PyTorch's build
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {reason}") from error
