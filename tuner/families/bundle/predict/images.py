"""Images → labels. PNG is read here; for other formats pillow must be installed."""

import csv
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.families.bundle.predict.common import (
    Answer,
    answer,
    description,
    opened,
    predicted,
    read_tensors,
)

LUMA = (19595, 38470, 7471)  # of red, green, blue in gray, in 1/65536: ITU-R 601, as pillow has it


def run(build: Callable[[Any, Any], nn.Module], folder: Path) -> None:
    """The program; `build` makes the family's network."""
    content, params = opened(folder)
    state = read_tensors(folder / "weights.safetensors")
    described = description(content, state)
    model = build(params, described)
    model.load_state_dict(state)
    serve(model.eval(), content)


def serve(model: nn.Module, content: Mapping[str, Any]) -> None:
    """The program around a model that takes normalized images [N, C, H, W]."""
    shape = tuple(content["input_shape"])
    mean, std = (torch.tensor(content[name]).view(-1, 1, 1) for name in ("mean", "std"))

    def read(path: str, *_: str) -> Iterator[Tensor]:
        if path != "-" and not path.lower().endswith(".csv"):
            image = _image(Path(path), shape)
            if image.max() > content["range"][1]:
                highest = f"{content['range'][1]:g}"
                told = f"warning: {path}: pixels go up to {float(image.max()):g}, those of the "
                print(f"{told}training data to {highest}", file=sys.stderr)
            yield image
            return
        try:
            with sys.stdin if path == "-" else Path(path).open(encoding="utf-8-sig") as file:
                yield from _rows(csv.reader(file), path, shape)
        except (OSError, ValueError, csv.Error) as error:
            sys.exit(f"{path}: cannot be read ({error})")

    def answers(images: Sequence[Tensor]) -> Iterator[Answer]:
        inputs = (torch.stack(list(images)).float() - mean) / std
        yield from predicted(model, inputs, content)

    size = "×".join(map(str, shape))
    answer(answers, read, "", f"images: files, or tables with the {size} numbers of one a row")


def _rows(rows: Iterator[list[str]], path: str, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Images of a table: channel after channel, line after line; a header is passed over."""
    count = shape[0] * shape[1] * shape[2]
    for number, cells in enumerate(rows, start=1):
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            if number == 1:
                continue
            sys.exit(f"{path}, line {number}: must be numbers")
        if len(values) != count:
            sys.exit(f"{path}, line {number}: has {len(values)} numbers, an image has {count}")
        yield torch.tensor(values).view(shape)


def _image(path: Path, shape: tuple[int, ...]) -> Tensor:
    """A file as float32 [C, H, W] of the training images' shape; SystemExit with a sentence."""
    if shape[0] not in (1, 3):
        sys.exit(f"{path}: the model takes {shape[0]} channels, which only a table can give")
    try:
        pixels = _with_pillow(path, shape)
        if pixels is None:
            pixels = _png(path.read_bytes())
    except OSError as error:
        sys.exit(f"{path}: cannot be read ({error.strerror or error})")
    except (ValueError, LookupError, zlib.error) as error:
        said = error if isinstance(error, ValueError) else "is damaged"
        sys.exit(f"{path}: {said}; with pillow (pip install pillow) more formats can be read")
    whole = bool((pixels == pixels.round()).all())  # 8 bits are resized to 8 bits
    if pixels.shape[0] != shape[0]:
        pixels = _gray(pixels) if shape[0] == 1 else pixels[:1].expand(shape[0], -1, -1)
    if tuple(pixels.shape[1:]) != shape[1:]:
        resized = functional.interpolate(
            pixels[None], shape[1:], mode="bilinear", antialias=True, align_corners=False
        )
        pixels = resized[0].clamp(0, 255)
        if whole:
            pixels = pixels.round()
    return pixels


def _gray(pixels: Tensor) -> Tensor:
    red, green, blue = (part * share for part, share in zip(pixels[:3], LUMA, strict=True))
    gray: Tensor = (red + green + blue + 32768) / 65536
    return gray.floor()[None]


def _with_pillow(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """As the training images were read; None where pillow is not installed."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    Image.init()
    safe = [name for name in Image.ID if name not in ("EPS", "WMF")]  # these run other programs
    with Image.open(path, formats=safe) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I" or upright.mode.startswith("I;16"):
            deep = torch.frombuffer(bytearray(upright.convert("I").tobytes()), dtype=torch.int32)
            return (deep.float() / 257).clamp(0, 255).view(1, upright.height, upright.width)
        converted: Image.Image = upright.convert("L" if shape[0] == 1 else "RGB")
        if converted.size != (shape[2], shape[1]):
            converted = converted.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
        pixels = torch.frombuffer(bytearray(converted.tobytes()), dtype=torch.uint8)
    image_: Tensor = pixels.view(shape[1], shape[2], -1).permute(2, 0, 1).float()
    return image_


def _png(content: bytes) -> Tensor:
    """A PNG file (W3C, second edition) as float32 [1 or 3, H, W]; transparency is dropped.

    ValueError where it is none, or interlaced.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("is no PNG file")
    chunks: dict[bytes, bytes] = {}
    place = 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        chunks[kind] = chunks.get(kind, b"") + content[place + 8 : place + 8 + length]
        place += length + 12
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or header[12] or header[8] not in (8, 16):
        raise ValueError("is damaged, interlaced or has less than 8 bits a channel")
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[header[9]]
    size = header[8] // 8  # bytes a channel
    pixel = channels * size
    lines = _unfiltered(zlib.decompress(chunks[b"IDAT"]), height, width * pixel, pixel)
    parts = torch.frombuffer(lines, dtype=torch.uint8).view(height, width, channels, size)
    pixels = parts[..., 0]
    if size == 2 and channels == 1:  # gray of 16 bits keeps them; so does pillow
        pixels = (parts[..., 0] * 256.0 + parts[..., 1]) / 257
    if header[9] == 3:
        palette = torch.frombuffer(bytearray(chunks[b"PLTE"]), dtype=torch.uint8).view(-1, 3)
        pixels = palette[pixels[..., 0].long()]
    kept = 3 if pixels.shape[2] > 2 else 1
    return pixels[..., :kept].permute(2, 0, 1).float()


def _unfiltered(content: bytes, height: int, width: int, pixel: int) -> bytearray:
    """The lines, `width` bytes each, of which every one is stored as a difference to others.

    `pixel` is the number of bytes of one.
    """
    if len(content) != height * (width + 1):
        raise ValueError("is damaged")
    above, found = bytearray(width), bytearray()
    for row in range(height):
        start = row * (width + 1)
        kind, line = content[start], bytearray(content[start + 1 : start + 1 + width])
        for place in range(width) if kind else ():
            left = line[place - pixel] if place >= pixel else 0
            corner = above[place - pixel] if place >= pixel else 0
            guess = (0, left, above[place], (left + above[place]) // 2)
            added = _paeth(left, above[place], corner) if kind == 4 else guess[kind]
            line[place] = (line[place] + added) % 256
        found += line
        above = line
    return found


def _paeth(left: int, above: int, corner: int) -> int:
    distances = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    return (left, above, corner)[distances.index(min(distances))]
