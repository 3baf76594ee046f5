"""Pictures of feature maps, and the receptive field and the preferred input of a neuron deep in a network."""

import math

from torch import Tensor

from .functional import center, to_pair


def _draw_panels(figure, tensor, vmin, vmax):
    """Draw the maps of ``(C, H, W)`` or ``(H, W)`` as grey panels in a near-square grid, with common limits."""
    maps = tensor.detach().cpu().reshape(-1, *tensor.shape[-2:]).double().numpy()
    vmin = maps.min() if vmin is None else vmin
    vmax = maps.max() if vmax is None else vmax
    columns = math.ceil(math.sqrt(len(maps)))
    rows = math.ceil(len(maps) / columns)
    figure.set_size_inches(1.5 * columns, 1.5 * rows)
    for number, values in enumerate(maps, start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(values, cmap="gray", vmin=vmin, vmax=vmax)
        axes.set_axis_off()


def show_tensor(aTensor: Tensor, _vmin: float | None = None, _vmax: float | None = None):
    """Show the maps of ``(C, H, W)`` in a window, one panel each, and return the figure.

    ``_vmin`` is black and ``_vmax`` white; they default to the tensor's limits. No window opens if matplotlib's backend
    is Agg, which only writes files.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure()
    _draw_panels(figure, aTensor, _vmin, _vmax)
    if plt.get_backend().lower() != "agg":
        plt.show()
    return figure


def plot_tensor_in_image(fname, aTensor: Tensor, _vmin: float | None = None, _vmax: float | None = None) -> None:
    """Save the picture that ``show_tensor`` shows; the suffix of ``fname`` names the format. It needs no display."""
    from matplotlib.figure import Figure

    figure = Figure()
    _draw_panels(figure, aTensor, _vmin, _vmax)
    figure.savefig(fname)


def get_deep_receptive_field(*layers: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return the size ``(h, w)`` in pixels of the receptive field of a neuron of the last layer.

    From the top down, ``h ← (h - 1) · stride + height``, which begins with 1.

    Args:
        layers: from the bottom up, ``(height, width, row stride, column stride)`` each.
    """
    h = w = 1
    for height, width, row_stride, column_stride in reversed(layers):
        h = (h - 1) * row_stride + height
        w = (w - 1) * column_stride + width
    return h, w


def get_deep_feature(pre_feature: Tensor, feature_stride, window_size, stride, weights: Tensor | None = None):
    """Return the preferred input of the neurons of a layer, from that of the layer below.

    The field grows from h to ``h + (window - 1) · feature stride``. Pooling places the feature in the middle of it. A
    convolution adds, for every offset of the kernel, ``max_c w[f, c, offset] · feature[c]`` at the offset times the
    feature stride.

    Args:
        pre_feature: features ``(C, h, w)`` of the layer below.
        feature_stride: pixels between neighbouring neurons of the layer below, a number or ``(rows, columns)``.
        window_size, stride: of this layer, likewise.
        weights: ``(F, C, kh, kw)`` of a convolution with ``(kh, kw) = window_size``; ``None``: pooling.

    Returns:
        the features ``(F, h', w')``, or ``(C, h', w')`` of pooling, and the new feature stride ``(rows, columns)``.
    """
    (row_step, column_step), (kh, kw), (row_stride, column_stride) = map(to_pair, (feature_stride, window_size, stride))
    _, h, w = pre_feature.shape
    height, width = h + (kh - 1) * row_step, w + (kw - 1) * column_step
    if weights is None:
        feature = center(pre_feature, height, width)
    else:
        feature = pre_feature.new_zeros(len(weights), height, width)
        for row in range(kh):
            for column in range(kw):
                top, left = row * row_step, column * column_step
                strongest = (weights[:, :, row, column, None, None] * pre_feature).amax(1)  # (F, h, w)
                feature[:, top : top + h, left : left + w] += strongest
    return feature, (row_step * row_stride, column_step * column_stride)
