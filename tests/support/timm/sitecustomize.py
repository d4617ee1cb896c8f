"""Lets torchvision's build for CUDA be imported beside a torch without CUDA.

It describes two operators of its library, which that torch cannot load. Python runs this file at
the start of every process that has its folder on the path.
"""

import torch

if torch.version.cuda is None:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
