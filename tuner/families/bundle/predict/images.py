"""Images → labels. Reads PNG by itself; other formats need pillow."""

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
    Prediction,
    describe,
    open_bundle,
    predict,
    read_tensors,
    serve,
)

LUMA = (19595, 38470, 7471)  # of red, green, blue in gray, in 1/65536: ITU-R 601, as pillow has it


def run(build: Callable[[Any, Any], nn.Module], folder: Path) -> None:
    """Predict with the bundle in `folder`; `build` makes the family's network."""
    content, params = open_bundle(folder)
    state = read_tensors(folder / "weights.safetensors")
    model = build(params, describe(content, state))
    model.load_state_dict(state)
    serve_images(model.eval(), content)


def serve_images(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Run the program with a model that takes normalized images [N, C, H, W]."""
    shape = tuple(content["input_shape"])
    mean, std = (torch.tensor(content[name]).view(-1, 1, 1) for name in ("mean", "std"))

    def read(path: str, *_: str) -> Iterator[Tensor]:
        if path != "-" and not path.lower().endswith(".csv"):
            image = _read_image(Path(path), shape)
            brightest, limit = float(image.max()), content["range"][1]
            if brightest > limit:
                print(
                    f"warning: {path}: pixels go up to {brightest:g}, those of the training data "
                    f"to {limit:g}",
                    file=sys.stderr,
                )
            yield image
            return
        try:
            with sys.stdin if path == "-" else Path(path).open(encoding="utf-8-sig") as file:
                yield from _read_rows(csv.reader(file), path, shape)
        except (OSError, ValueError, csv.Error) as error:
            sys.exit(f"{path}: cannot be read ({error})")

    def predict_images(images: Sequence[Tensor]) -> Iterator[Prediction]:
        inputs = (torch.stack(list(images)).float() - mean) / std
        yield from predict(model, inputs, content)

    size = "×".join(map(str, shape))
    serve(
        predict_images, read, "", f"images: files, or tables with the {size} numbers of one per row"
    )


def _read_rows(rows: Iterator[list[str]], path: str, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Read a table's images: channel after channel, line after line; a header is skipped."""
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


def _read_image(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read a file as float32 [C, H, W] of the training images' shape; exit if that fails."""
    if shape[0] not in (1, 3):
        sys.exit(f"{path}: the model takes {shape[0]} channels, which only a table can hold")
    try:
        pixels = _read_with_pillow(path, shape)
        if pixels is None:
            pixels = _read_png(path.read_bytes())
    except OSError as error:
        sys.exit(f"{path}: cannot be read ({error.strerror or error})")
    except (ValueError, LookupError, zlib.error) as error:
        problem = error if isinstance(error, ValueError) else "is damaged"
        sys.exit(f"{path}: {problem}; with pillow (pip install pillow) more formats can be read")
    is_whole = bool((pixels == pixels.round()).all())  # 8 bits are resized to 8 bits
    if pixels.shape[0] != shape[0]:
        pixels = _to_gray(pixels) if shape[0] == 1 else pixels[:1].expand(shape[0], -1, -1)
    if tuple(pixels.shape[1:]) != shape[1:]:
        resized = functional.interpolate(
            pixels[None], shape[1:], mode="bilinear", antialias=True, align_corners=False
        )
        pixels = resized[0].clamp(0, 255)
        if is_whole:
            pixels = pixels.round()
    return pixels


def _to_gray(pixels: Tensor) -> Tensor:
    red, green, blue = (channel * weight for channel, weight in zip(pixels[:3], LUMA, strict=True))
    gray: Tensor = (red + green + blue + 32768) / 65536
    return gray.floor()[None]


def _read_with_pillow(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """Read an image as the training images were read; None where pillow is not installed."""
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
    channels_first: Tensor = pixels.view(shape[1], shape[2], -1).permute(2, 0, 1).float()
    return channels_first


def _read_png(content: bytes) -> Tensor:
    """Decode a PNG file (W3C, second edition) as float32 [1 or 3, H, W], without transparency.

    Raises ValueError if it is no PNG or an interlaced one.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("is no PNG file")
    chunks: dict[bytes, bytes] = {}
    position = 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        chunks[kind] = chunks.get(kind, b"") + content[position + 8 : position + 8 + length]
        position += length + 12
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or header[12] or header[8] not in (8, 16):
        raise ValueError("is damaged, interlaced or has less than 8 bits per channel")
    width, height = (int.from_bytes(header[start : start + 4], "big") for start in (0, 4))
    color_type = header[9]
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    sample_size = header[8] // 8  # bytes per channel
    pixel_size = channels * sample_size
    scanlines = _unfilter(zlib.decompress(chunks[b"IDAT"]), height, width * pixel_size, pixel_size)
    samples = torch.frombuffer(scanlines, dtype=torch.uint8)
    samples = samples.view(height, width, channels, sample_size)
    pixels = samples[..., 0]
    if sample_size == 2 and channels == 1:  # 16-bit gray keeps its precision, as with pillow
        pixels = (samples[..., 0] * 256.0 + samples[..., 1]) / 257
    if color_type == 3:
        palette = torch.frombuffer(bytearray(chunks[b"PLTE"]), dtype=torch.uint8).view(-1, 3)
        pixels = palette[pixels[..., 0].long()]
    colors = 3 if pixels.shape[2] > 2 else 1
    return pixels[..., :colors].permute(2, 0, 1).float()


def _unfilter(content: bytes, height: int, width: int, pixel_size: int) -> bytearray:
    """Undo the filters of a PNG's scanlines; `width` and `pixel_size` are in bytes."""
    if len(content) != height * (width + 1):
        raise ValueError("is damaged")
    previous, scanlines = bytearray(width), bytearray()
    for row in range(height):
        start = row * (width + 1)
        filter_type, line = content[start], bytearray(content[start + 1 : start + 1 + width])
        for i in range(width) if filter_type else ():
            above = previous[i]
            left_byte = line[i - pixel_size] if i >= pixel_size else 0
            corner = previous[i - pixel_size] if i >= pixel_size else 0
            if filter_type == 4:
                predictor = _paeth(left_byte, above, corner)
            else:
                predictor = (0, left_byte, above, (left_byte + above) // 2)[filter_type]
            line[i] = (line[i] + predictor) % 256
        scanlines += line
        previous = line
    return scanlines


def _paeth(left: int, above: int, corner: int) -> int:
    distances = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    return (left, above, corner)[distances.index(min(distances))]
