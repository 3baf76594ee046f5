"""How large the output of a convolution or a pooling is: computed here and nowhere else."""

from errors import InputError


def output_size(height, width, kernel, padding):
    """(Ho, Wo) of a convolution of stride 1. Errors: InputError if the kernel does not fit the padded input."""
    size = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    if min(size) < 1:
        padded = f"{height + 2 * padding}×{width + 2 * padding}"
        raise InputError(f"kernel {kernel} does not fit a {padded} input (padding included)")
    return size


def pooled_size(height, width, size):
    """(Ho, Wo) after pooling; what does not fit is dropped. Errors: InputError if not even one window fits."""
    if min(height, width) < size:
        raise InputError(f"pooling {size} does not fit a {height}×{width} input")
    return height // size, width // size
