"""The device that this process trains on: checked and warmed up once, at its start."""

import torch


def warm_up(device: str) -> str | None:
    """Set this process up for training on a device; returns why that is impossible, or None.

    Only for processes that train: this creates the device's context.
    """
    torch.set_flush_denormal(True)  # denormal numbers are a hundred times slower on CPUs
    kind = torch.device(device).type
    advice = "work on the CPU (`--device cpu`, in a study file `resources: {device: cpu}`)"
    if kind == "cuda" and not torch.backends.cuda.is_built():
        return (
            f"torch {torch.__version__} is built without CUDA: install a build with it, or {advice}"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        return f"torch {torch.__version__} cannot use Apple's GPU on this Mac: {advice}"
    try:
        torch.ones(1, device=device).add_(1).cpu()
    except RuntimeError as error:  # no driver for this build, a GPU too old for it, or a broken one
        first = str(error).strip().splitlines()[0].rstrip(".")
        return f"torch {torch.__version__} cannot use the device {device}: {first}; or {advice}"
    return None
