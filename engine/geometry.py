"""The sizes of the outputs of convolutions and poolings."""

from numbers import Integral

from errors import InputError


def output_size(height: int, width: int, kernel: int, padding: int) -> tuple[int, int]:
    """Return (Ho, Wo) of a convolution of stride 1. Raises InputError if the kernel does not fit the padded input."""
    size = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    if min(size) < 1:
        padded = f"{height + 2 * padding}×{width + 2 * padding}"
        raise InputError(f"kernel {kernel} does not fit a {padded} input (padding included)")
    return size


def pooled_size(height: int, width: int, size: int, padding: int = 0) -> tuple[int, int]:
    """Return (Ho, Wo) of a pooling, which drops what does not fit. Raises InputError if no window fits."""
    height += 2 * padding
    width += 2 * padding
    if not isinstance(size, Integral) or not 1 <= size <= min(height, width):
        padded = f"{height}×{width}"
        raise InputError(f"pooling {size} does not fit a {padded} input (padding included)")
    return height // size, width // size
