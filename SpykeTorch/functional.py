"""Operations on spike waves, potentials and latency maps.

Shapes: ``T`` time steps, ``C`` feature maps, ``H × W`` positions. A wave or potentials are ``(T, C, H, W)``, a latency
map is ``(C, H, W)``. Waves must be cumulative (once 1, always 1), and potentials must never fall in time. Both hold if
no weight is negative. This is not checked here, because a check takes as long as the operation. A function whose name
ends in ``_`` changes its argument and returns it.

Ties: of equal values, ``get_k_winners``, ``pointwise_inhibition`` and ``utils.Intensity2Latency`` take the lowest flat
index first. But a float32 potential is a sum of up to thousands of weights, and its last digits depend on the order of
the additions: on the device, the number of threads and the version of torch. So rounding decides which of two
potentials that agree in 6 digits is higher, and whether a potential crosses a threshold that it equals in exact
arithmetic. (In the original library, more depends on rounding: it computes a float32 from spike time and potential,
and ranks equal intensities in an undefined order.) A run of the original is therefore reproduced, spike for spike, up
to the first such tie; after it, both are valid runs of the same network. To compare implementations, use float64.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_pair(value) -> tuple:
    """Return ``(value, value)`` for a number, or the given pair as a tuple."""
    try:
        pair = tuple(value)
    except TypeError:
        return value, value
    if len(pair) != 2:
        raise ValueError(f"expected a number or a pair, not {len(pair)} values")
    return pair


def conv2d(input: Tensor, weight: Tensor, padding=0) -> Tensor:
    """Apply ``torch.nn.functional.conv2d``, on every device by sums of products in full precision.

    On a GPU, cuDNN may choose an algorithm that also subtracts (Winograd), so that sums of weights 0 and 1 are not
    whole numbers, and neurons at whole thresholds fire wrongly.
    """
    convolve = F.conv2d if input.device.type == "cpu" else multiply_windows
    return convolve(input, weight, padding=padding)


def multiply_windows(input: Tensor, weight: Tensor, padding=0) -> Tensor:
    """Compute a convolution as the product of two matrices: the weights, and the windows of the input.

    A GPU would round the factors to 10 bits if TF32 is allowed. This changes a weight more than many updates do.
    """
    kernel = weight.shape[2:]
    rows, columns = to_pair(padding)
    size = input.shape[2] + 2 * rows - kernel[0] + 1, input.shape[3] + 2 * columns - kernel[1] + 1
    windows = F.unfold(input, kernel, padding=(rows, columns))  # (N, C · kh · kw, H' · W')
    matmul = torch.backends.cuda.matmul
    name, exact = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, exact)
    try:
        return (weight.flatten(1) @ windows).unflatten(2, size)
    finally:
        setattr(matmul, name, before)


def latency_to_wave(latency: Tensor, time_steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the spike wave of a latency map: ``wave[t] = [latency <= t]``.

    Args:
        latency: integers ``(C, H, W)`` or ``(N, C, H, W)``, the time step of each spike, ``time_steps`` for silence.
        time_steps: T, at most what the type of ``latency`` can hold (255 for uint8).
        dtype: type of the wave ``(T, C, H, W)`` or ``(N, T, C, H, W)``.
    """
    if time_steps > torch.iinfo(latency.dtype).max:
        raise ValueError(f"{latency.dtype} cannot hold latencies of {time_steps} time steps")
    steps = torch.arange(time_steps, dtype=latency.dtype, device=latency.device).view(-1, 1, 1, 1)
    return (latency.unsqueeze(-4) <= steps).to(dtype)


def wave_to_latency(wave: Tensor) -> Tensor:
    """Return the latency map of a cumulative wave: ``latency = T - Σ_t wave[t]``, which is ``T`` for a silent neuron.

    Args:
        wave: zeros and ones ``(T, C, H, W)`` or ``(N, T, C, H, W)`` of any type, ``T <= 255``.

    Returns:
        uint8 ``(C, H, W)`` or ``(N, C, H, W)``.
    """
    time_steps = wave.shape[-4]
    if time_steps > 255:
        raise ValueError(f"uint8 cannot hold latencies of {time_steps} time steps")
    return (time_steps - wave.sum(-4)).to(torch.uint8)


def pad(input: Tensor, pad, value: float = 0) -> Tensor:
    """Pad the last two axes by ``pad = (left, right, top, bottom)``; ``value`` is T for a latency map."""
    return F.pad(input, pad, value=value)


def center(input: Tensor, height: int, width: int) -> Tensor:
    """Pad the last two axes with zeros on all sides to ``height × width``, of an odd number one more at the end."""
    rows = height - input.shape[-2]
    columns = width - input.shape[-1]
    return pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def pooling(input: Tensor, kernel_size, stride=None, padding=0) -> Tensor:
    """Apply max pooling over ``(H, W)``, which keeps the earliest spike of each window of a wave.

    ``kernel_size``, ``stride`` (default: the kernel's size) and ``padding`` are numbers or ``(rows, columns)``.
    """
    values = input if input.is_floating_point() else input.float()  # torch pools integers on some devices only
    return F.max_pool2d(values, kernel_size, stride, padding).to(input.dtype)


def _fires(potentials, threshold):
    """Return where a neuron is above its threshold, as booleans."""
    if threshold is not None:
        return potentials > threshold
    fires = torch.zeros_like(potentials, dtype=torch.bool)
    fires[-1] = potentials[-1] > 0
    return fires


def threshold(potentials: Tensor, threshold: float | None = None) -> Tensor:
    """Keep the potentials ``(T, C, H, W)`` with ``p > θ`` and set the others to 0.

    ``threshold=None`` keeps only the positive potentials of the last time step.
    """
    return torch.where(_fires(potentials, threshold), potentials, 0)


def threshold_(potentials: Tensor, threshold: float | None = None) -> Tensor:
    """In-place form of ``threshold``."""
    return potentials.masked_fill_(~_fires(potentials, threshold), 0)


def fire(potentials: Tensor, threshold: float | None = None, return_thresholded_potentials: bool = False):
    """Compute the spikes of integrate-and-fire neurons without a leak: ``spike[t] = [p[t] > θ]``, strictly.

    Args:
        potentials: ``(T, C, H, W)``.
        threshold: θ; ``None``: every neuron with a positive potential at the last time step fires then.
        return_thresholded_potentials: also return the result of ``threshold``.

    Returns:
        the wave, of the potentials' type, or ``(wave, thresholded potentials)``.
    """
    fires = _fires(potentials, threshold)
    spikes = fires.to(potentials.dtype)
    if not return_thresholded_potentials:
        return spikes
    return spikes, torch.where(fires, potentials, 0)


def fire_(potentials: Tensor, threshold: float | None = None) -> Tensor:
    """In-place form of ``fire``: the potentials become the wave."""
    return potentials.copy_(_fires(potentials, threshold))


def pointwise_inhibition(thresholded_potentials: Tensor) -> Tensor:
    """Keep the potentials of one feature at each position and set all others to 0.

    The feature that crosses its threshold first is kept. Of several at the same time step, the feature with the highest
    potential at this step is kept; of equal ones, the lowest index (Mozafari et al. 2019, Front. Neurosci. 13:625).

    Args:
        thresholded_potentials: ``(T, C, H, W)``, 0 where the threshold is not crossed.
    """
    highest, feature = thresholded_potentials.max(dim=1)  # both (T, H, W); max returns the first of equal features
    first = (highest > 0).to(torch.uint8).argmax(dim=0, keepdim=True)  # (1, H, W), time of the first crossing
    winner = feature.gather(0, first).unsqueeze(1).expand(len(feature), 1, -1, -1)  # (T, 1, H, W)
    kept = thresholded_potentials.gather(1, winner)
    return torch.zeros_like(thresholded_potentials).scatter_(1, winner, kept)


def feature_inhibition(potentials: Tensor, inhibited_features) -> Tensor:
    """Set whole feature maps of ``(T, C, H, W)`` to 0; ``inhibited_features`` is an index, a list or a mask."""
    return feature_inhibition_(potentials.clone(), inhibited_features)


def feature_inhibition_(potentials: Tensor, inhibited_features) -> Tensor:
    """In-place form of ``feature_inhibition``."""
    potentials[:, inhibited_features] = 0
    return potentials


def get_k_winners(
    potentials: Tensor, kwta: int = 1, inhibition_radius: int = 0, spikes: Tensor | None = None
) -> list[tuple[int, int, int]]:
    """Choose up to ``kwta`` winners, one after another (Kheradpisheh et al. 2018, Neural Networks 99).

    A winner is the neuron with the earliest spike; of several, the neuron with the highest potential at its spike time;
    of equal ones, the lowest flat index. A winner excludes all neurons of its feature map from the further choice. If
    the radius r is positive, it also excludes the ``(2r + 1) × (2r + 1)`` square around it in all maps.

    Args:
        potentials: ``(T, C, H, W)``.
        kwta: the largest number of winners.
        inhibition_radius: r, in positions; 0 excludes the winner's own map only.
        spikes: wave of the same shape; ``None``: a neuron spikes where its potential is positive.

    Returns:
        list of ``(feature, row, column)`` in the order of choice, shorter than ``kwta`` if no more neurons spike.
    """
    if spikes is not None and spikes.shape != potentials.shape:
        raise ValueError(f"spikes {tuple(spikes.shape)} and potentials {tuple(potentials.shape)} differ in shape")
    time_steps, features, height, width = potentials.shape
    spike_counts = (potentials > 0).sum(0) if spikes is None else spikes.sum(0)
    latency = (time_steps - spike_counts).long()  # (C, H, W)
    step = latency.clamp(max=time_steps - 1)
    potential = potentials.gather(0, step[None])[0]  # at the spike time
    # A GPU computes all rounds without waiting: the winners are read once, at the end.
    rows = torch.arange(height, device=latency.device)[:, None]
    columns = torch.arange(width, device=latency.device)
    rounds = []
    for _ in range(min(kwta, features)):
        earliest = latency.min()
        # argmax returns the first of equal potentials
        best = torch.where(latency == earliest, potential, -torch.inf).argmax()
        feature = best // (height * width)
        row = best // width % height
        column = best % width
        rounds.append(torch.stack([earliest, feature, row, column]))
        latency.index_fill_(0, feature.view(1), time_steps)
        if inhibition_radius > 0:
            is_near = ((rows - row).abs() <= inhibition_radius) & ((columns - column).abs() <= inhibition_radius)
            latency.masked_fill_(is_near, time_steps)
    found = torch.stack(rounds).tolist() if rounds else []
    return [(feature, row, column) for earliest, feature, row, column in found if earliest < time_steps]


def pre_post_ordering(input_spikes: Tensor, output_spikes: Tensor, winners, kernel_size: tuple[int, int]) -> Tensor:
    """Return which synapses of the winners were causal: ``[t_pre <= t_post]``, False for a silent input.

    Args:
        input_spikes: wave ``(T, C, H, W)``, padded as the input of the convolution.
        output_spikes: wave ``(T, F, H - kh + 1, W - kw + 1)``.
        winners: k ≥ 1 triples ``(feature, row, column)``, a list or an integer tensor ``(k, 3)``.
        kernel_size: ``(kh, kw)``.

    Returns:
        booleans ``(k, C, kh, kw)``.

    Raises:
        ValueError: the sizes do not belong together, or a winner's spikes are not cumulative.
        IndexError: a winner is not a neuron of the output.
    """
    time_steps = len(output_spikes)
    kh, kw = kernel_size
    height, width = output_spikes.shape[-2:]
    shape = tuple(input_spikes.shape)
    expected = time_steps, shape[1], height + kh - 1, width + kw - 1
    if shape != expected:
        raise ValueError(f"the (padded) input of this output is {expected}, not {shape}")
    winners = torch.as_tensor(winners, device=output_spikes.device)
    sizes = winners.new_tensor(output_spikes.shape[1:])
    if winners.is_floating_point() or (winners < 0).any() or (winners >= sizes).any():
        raise IndexError(f"winners are (feature, row, column) below {sizes.tolist()}, not {winners.tolist()}")
    feature, row, column = winners.unbind(1)
    trains = output_spikes[:, feature, row, column]  # (T, k)
    if (trains[1:] < trains[:-1]).any():
        raise ValueError("the winners' spikes are not cumulative: a neuron that fired stays 1")
    # A cumulative wave holds the answer at the time of the winner's spike. For a silent winner, the last step counts.
    t_post = (time_steps - trains.sum(0)).long().clamp(max=time_steps - 1)
    fields = zip(t_post.tolist(), row.tolist(), column.tolist(), strict=True)
    return torch.stack([input_spikes[t, :, r : r + kh, c : c + kw] for t, r, c in fields]) > 0


def stdp_change(
    weight: Tensor, causal: Tensor, ltp, ltd, use_stabilizer: bool = True, lower_bound=0, upper_bound=1
) -> Tensor:
    """Return the change of each weight ``w`` by STDP, before the bounds are applied.

        Δw = ltp · s(w)   if the input spiked and t_pre <= t_post
        Δw = ltd · s(w)   otherwise
        s(w) = (w - lower) (upper - w)  with the stabilizer, else 1

    (Kheradpisheh et al. 2018, Neural Networks 99; Mozafari et al. 2019, Front. Neurosci. 13:625.)

    Args:
        weight: ``(k, C, kh, kw)``.
        causal: booleans of the same shape, from ``pre_post_ordering``.
        ltp, ltd: rates, numbers or tensors that broadcast with ``weight``; ltd is negative in STDP, ltp in anti-STDP.
    """
    ltp, ltd = (torch.as_tensor(rate, dtype=weight.dtype, device=weight.device) for rate in (ltp, ltd))
    change = torch.where(causal, ltp, ltd)
    return change * ((weight - lower_bound) * (upper_bound - weight)) if use_stabilizer else change


def intensity_lateral_inhibition(intencities: Tensor, inhibition_kernel: Tensor) -> Tensor:
    """Sharpen contrast: ``I'(x) = I(x) (1 + Σ_d kernel(d) [I(x) > I(x + d)])``.

    Each weaker neighbour increases the value. Neighbours outside the image are 0.

    Args:
        intencities: ``(1, C, H, W)``.
        inhibition_kernel: square, of odd side; see ``utils.generate_inhibition_kernel``.
    """
    side = inhibition_kernel.shape[-1]
    maps = intencities.reshape(-1, 1, *intencities.shape[-2:])
    neighbours = F.unfold(maps, side, padding=side // 2)  # (C, side², H·W)
    weaker = (maps.flatten(2) > neighbours).to(maps.dtype)
    factors = inhibition_kernel.to(maps).reshape(1, 1, -1)
    gain = factors @ weaker
    return intencities * (1 + gain.view_as(intencities))


def local_normalization(input: Tensor, normalization_radius: int, eps: float = 1e-12) -> Tensor:
    """Divide each value by the mean of its surroundings: ``x' = x / (mean + eps)``.

    The mean is that of the channel over the square window of side ``2 r + 1``, with zeros outside the image.

    Args:
        input: ``(1, C, H, W)``, not negative.
        normalization_radius: r, in pixels.
    """
    input = input if input.is_floating_point() else input.to(torch.get_default_dtype())
    side = 2 * normalization_radius + 1
    # This is a convolution, because avg_pool2d rounds differently, and a last digit can change the order of the spikes.
    window = input.new_full((1, 1, side, side), 1 / side**2)
    mean = conv2d(input.reshape(-1, 1, *input.shape[-2:]), window, padding=normalization_radius)
    return input / (mean.view_as(input) + eps)
