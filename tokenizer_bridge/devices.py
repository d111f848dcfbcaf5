"""Networks to the device that a flag names."""

import torch
from torch import nn

from tokenizer_bridge.errors import UserError


def move_to(network: nn.Module, device: str | torch.device) -> nn.Module:
    """The network on a device. Raises UserError, naming --device, if that cannot be used."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        return network.to(device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on PyTorch's build
        reason = str(error).splitlines()[0]
        raise UserError(f"--device={device} cannot be used: {reason}") from error
