"""Operations on spike waves, potentials and latency maps.

Shapes: ``T`` time steps, ``C`` feature maps, ``H × W`` positions. A wave or potentials are ``(T, C, H, W)``, a latency
map is ``(C, H, W)``. Waves have to be cumulative (once 1, always 1) and potentials must never fall in time, which holds
wherever weights are non-negative; this is not checked here, because a check would cost as much as the operation.
Names that end in ``_`` change their argument and return it.

Ties. Of equal values the lowest flat index comes first: in ``get_k_winners``, ``pointwise_inhibition`` and
``utils.Intensity2Latency``. But a float32 potential is a sum of up to thousands of weights, known to 6 or 7 digits, and
its last digits depend on the order of the additions, which is the convolution library's and changes with the device,
the number of threads and the version of torch. So rounding decides which of two potentials that agree in 6 digits is
the higher, and whether one that equals the threshold in exact arithmetic crosses it. The original library leaves more
to rounding: it weighs spike time and potential in one float32 number, so that the potential's last digits do not count
in the choice of winners, and it ranks equal intensities in no promised order. A run of the original is therefore
repeated, spike for spike, up to the first such tie; from there on the two are equally valid runs of the same network.
To compare implementations, compute in float64, where ties are rare and rounding decides next to nothing.
"""

import torch
import torch.nn.functional as F
from torch.backends import cudnn


def to_pair(value):
    """``(value, value)`` of a number, or the pair given, as a tuple."""
    try:
        pair = tuple(value)
    except TypeError:
        return value, value
    if len(pair) != 2:
        raise ValueError(f"expected a number or a pair, not {len(pair)} values")
    return pair


def conv2d(input, weight, **options):
    """``torch.nn.functional.conv2d`` in full precision on every device.

    By default a GPU rounds float32 to 10 bits for it (TF32), which is more than many an update of a weight changes.
    """
    if not input.is_cuda:
        return F.conv2d(input, weight, **options)
    with _full_precision():
        return F.conv2d(input, weight, **options)


def _full_precision():
    """A context in which cuDNN does not use TF32, and everything else stays as it is set."""
    return cudnn.flags(cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit, cudnn.deterministic, allow_tf32=False)


def latency_to_wave(latency, time_steps, dtype=torch.float32):
    """The spike wave of a latency map: ``wave[t] = [latency <= t]``.

    Args:
        latency: integers ``(C, H, W)`` or ``(N, C, H, W)``, the time step of each spike, ``time_steps`` for silence.
        time_steps: T, at most what the type of ``latency`` can hold (255 for uint8).
        dtype: type of the wave.

    Returns:
        ``(T, C, H, W)`` or ``(N, T, C, H, W)``.
    """
    if latency.is_floating_point() or latency.dtype == torch.bool:
        raise TypeError(f"a latency map holds integers, not {latency.dtype}")
    if latency.dim() not in (3, 4):
        raise ValueError(f"a latency map is (C, H, W) or (N, C, H, W), not {tuple(latency.shape)}")
    if time_steps > torch.iinfo(latency.dtype).max:
        raise ValueError(f"{latency.dtype} cannot hold latencies of {time_steps} time steps")
    steps = torch.arange(time_steps, dtype=latency.dtype, device=latency.device).view(-1, 1, 1, 1)
    return (latency.unsqueeze(-4) <= steps).to(dtype)


def wave_to_latency(wave):
    """The latency map of a cumulative spike wave: ``latency = T - Σ_t wave[t]``, ``T`` for a silent neuron.

    Args:
        wave: zeros and ones ``(T, C, H, W)`` or ``(N, T, C, H, W)`` of any type, ``T <= 255``.

    Returns:
        uint8 ``(C, H, W)`` or ``(N, C, H, W)``.
    """
    if wave.dim() not in (4, 5):
        raise ValueError(f"a spike wave is (T, C, H, W) or (N, T, C, H, W), not {tuple(wave.shape)}")
    time_steps = wave.shape[-4]
    if time_steps > 255:
        raise ValueError(f"uint8 cannot hold latencies of {time_steps} time steps")
    return (time_steps - wave.sum(-4)).to(torch.uint8)


def pad(input, pad, value=0):
    """Pads the last two axes with ``value``; ``pad = (left, right, top, bottom)``.

    A latency map is padded with ``value = T``: nothing fires outside the image.
    """
    return F.pad(input, pad, value=value)


def pooling(input, kernel_size, stride=None, padding=0):
    """Max pooling over ``(H, W)``: of each window of a wave, the earliest spike survives.

    ``kernel_size``, ``stride`` (default: the kernel's size) and ``padding`` are numbers or ``(rows, columns)``.
    On latency maps the same operation is a minimum.
    """
    # torch pools integers on some devices only
    values = input if input.is_floating_point() else input.float()
    return F.max_pool2d(values, kernel_size, stride, padding).to(input.dtype)


def _fires(potentials, threshold):
    """Where a neuron is over its threshold, as booleans; without a threshold only the last time step counts."""
    if threshold is not None:
        return potentials > threshold
    fires = torch.zeros_like(potentials, dtype=torch.bool)
    fires[-1] = potentials[-1] > 0
    return fires


def threshold(potentials, threshold=None):
    """Keeps the potentials ``(T, C, H, W)`` with ``p > θ`` and sets the others to 0.

    ``threshold=None`` keeps the positive potentials of the last time step alone.
    """
    return torch.where(_fires(potentials, threshold), potentials, 0)


def threshold_(potentials, threshold=None):
    """In-place form of ``threshold``."""
    return potentials.masked_fill_(~_fires(potentials, threshold), 0)


def fire(potentials, threshold=None, return_thresholded_potentials=False):
    """Integrate and fire, without a leak: ``spike[t] = [p[t] > θ]``, strictly.

    Args:
        potentials: ``(T, C, H, W)``.
        threshold: θ; ``None``: only the last time step counts, and every positive potential there fires in it.
        return_thresholded_potentials: also return the potentials, those not over the threshold set to 0.

    Returns:
        the wave, of the potentials' type, or ``(wave, thresholded potentials)``.
    """
    fires = _fires(potentials, threshold)
    spikes = fires.to(potentials.dtype)
    return (spikes, torch.where(fires, potentials, 0)) if return_thresholded_potentials else spikes


def fire_(potentials, threshold=None):
    """In-place form of ``fire``: the potentials become the wave."""
    return potentials.copy_(_fires(potentials, threshold))


def pointwise_inhibition(thresholded_potentials):
    """Lets one feature per position keep its potentials and sets all others to 0.

    It is the feature that crosses its threshold first; of several at the same time step the one with the highest
    potential then; of equal ones the lowest index (Mozafari et al. 2019, Front. Neurosci. 13:625).

    Args:
        thresholded_potentials: ``(T, C, H, W)``, 0 where the threshold is not crossed.
    """
    highest, feature = thresholded_potentials.max(dim=1)  # both (T, H, W); max gives the first of equal features
    first = (highest > 0).to(torch.uint8).argmax(dim=0, keepdim=True)  # (1, H, W), time of the first crossing
    winner = feature.gather(0, first).unsqueeze(1).expand(len(feature), 1, -1, -1)  # (T, 1, H, W)
    kept = thresholded_potentials.gather(1, winner)
    return torch.zeros_like(thresholded_potentials).scatter_(1, winner, kept)


def feature_inhibition_(potentials, inhibited_features):
    """In-place form of ``feature_inhibition``."""
    features = torch.as_tensor(inhibited_features, device=potentials.device).reshape(-1)
    features = features.nonzero()[:, 0] if features.dtype == torch.bool else features.long()
    return potentials.index_fill_(-3, features, 0)


def feature_inhibition(potentials, inhibited_features):
    """Sets whole feature maps of ``(T, C, H, W)`` to 0; ``inhibited_features``: an index, a list of them or a mask."""
    return feature_inhibition_(potentials.clone(), inhibited_features)


def get_k_winners(potentials, kwta=1, inhibition_radius=0, spikes=None):
    """Chooses up to ``kwta`` winners, one after another (Kheradpisheh et al. 2018, Neural Networks 99).

    A winner has the earliest spike of all neurons left; of those, the highest potential at its spike time; of equal
    ones, the lowest flat index. It takes its feature map out of the further choice and, with a radius r > 0, the
    ``(2r + 1) × (2r + 1)`` square around it in all maps.

    Args:
        potentials: ``(T, C, H, W)``.
        kwta: the most winners to choose.
        inhibition_radius: r, in positions; 0 inhibits the winner's own map only.
        spikes: wave of the same shape; ``None``: a neuron spikes where its potential is positive.

    Returns:
        list of ``(feature, row, column)`` in the order of choice, shorter than ``kwta`` if the spikes run out.
    """
    if spikes is not None and spikes.shape != potentials.shape:
        raise ValueError(f"spikes {tuple(spikes.shape)} and potentials {tuple(potentials.shape)} differ in shape")
    if kwta < 0 or inhibition_radius < 0:
        raise ValueError(f"kwta {kwta} and inhibition radius {inhibition_radius} must not be negative")
    time_steps, _, height, width = potentials.shape
    spike_counts = (potentials > 0).sum(0) if spikes is None else spikes.sum(0)
    latency = (time_steps - spike_counts).long()  # (C, H, W)
    potential = potentials.gather(0, latency.clamp(max=time_steps - 1).unsqueeze(0)).squeeze(0)  # at the spike time
    winners = []
    while len(winners) < kwta:
        earliest = latency.min()
        if earliest == time_steps:
            break
        # argmax gives the first of equal potentials
        best = torch.where(latency == earliest, potential, -torch.inf).argmax().item()
        feature, position = divmod(best, height * width)
        row, column = divmod(position, width)
        winners.append((feature, row, column))
        latency[feature] = time_steps
        if inhibition_radius > 0:
            rows = slice(max(row - inhibition_radius, 0), row + inhibition_radius + 1)
            columns = slice(max(column - inhibition_radius, 0), column + inhibition_radius + 1)
            latency[:, rows, columns] = time_steps
    return winners


def pre_post_ordering(input_spikes, output_spikes, winners, kernel_size):
    """Which synapses of the winners were causal: ``[t_pre <= t_post]``, False for a silent input.

    Args:
        input_spikes: wave ``(T, C, H, W)``, padded as the convolution saw it.
        output_spikes: wave ``(T, F, H - kh + 1, W - kw + 1)``.
        winners: k ≥ 1 triples ``(feature, row, column)``, a list or an integer tensor ``(k, 3)``.
        kernel_size: ``(kh, kw)``.

    Returns:
        booleans ``(k, C, kh, kw)``.

    Raises:
        ValueError: the sizes do not belong together, or a winner's spikes are not cumulative.
    """
    (kh, kw), device = kernel_size, input_spikes.device
    time_steps, channels, *size = input_spikes.shape
    expected = [output_spikes.shape[-2] + kh - 1, output_spikes.shape[-1] + kw - 1]
    if size != expected or len(output_spikes) != time_steps:
        raise ValueError(
            f"input {tuple(input_spikes.shape)} does not belong to output {tuple(output_spikes.shape)}: a {kh}x{kw} "
            f"kernel needs a (padded) input of {expected[0]}x{expected[1]} and as many time steps"
        )
    feature, row, column = torch.as_tensor(winners, dtype=torch.long, device=device).unbind(1)
    trains = output_spikes[:, feature, row, column]  # (T, k)
    if (trains[1:] < trains[:-1]).any():
        raise ValueError("the winners' spikes are not cumulative: a neuron that fired stays 1")
    # A cumulative wave holds the answer at the time of the winner's spike; a silent winner comes after every input.
    t_post = (time_steps - trains.sum(0)).long().clamp(max=time_steps - 1)
    rows = row[:, None] + torch.arange(kh, device=device)
    columns = column[:, None] + torch.arange(kw, device=device)
    channel = torch.arange(channels, device=device)
    causal = input_spikes[
        t_post[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]
    return causal > 0


def stdp_change(weight, causal, ltp, ltd, use_stabilizer=True, lower_bound=0, upper_bound=1):
    """The STDP rule: the change of each weight ``w``, bounds not yet applied.

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
    if use_stabilizer:
        change = change * ((weight - lower_bound) * (upper_bound - weight))
    return change


def intensity_lateral_inhibition(intencities, inhibition_kernel):
    """Sharpens contrast: ``I'(x) = I(x) (1 + Σ_d kernel(d) [I(x) > I(x + d)])``.

    A value rises over each weaker neighbour, zeros outside the image included.

    Args:
        intencities: ``(1, C, H, W)``.
        inhibition_kernel: square, of odd side; see ``utils.generate_inhibition_kernel``.
    """
    side = inhibition_kernel.shape[-1]
    if inhibition_kernel.shape != (side, side) or side % 2 == 0:
        raise ValueError(f"an inhibition kernel is square with an odd side, not {tuple(inhibition_kernel.shape)}")
    center = intencities.reshape(-1, 1, intencities.shape[-2] * intencities.shape[-1])
    neighbours = F.unfold(intencities.reshape(-1, 1, *intencities.shape[-2:]), side, padding=side // 2)
    weaker = (center > neighbours).to(intencities.dtype)  # (C, side², H·W)
    gain = inhibition_kernel.to(intencities).reshape(1, 1, -1) @ weaker
    return intencities * (1 + gain.view_as(intencities))


def local_normalization(input, normalization_radius, eps=1e-12):
    """Divides each value by the mean of its surroundings: ``x' = x / (mean + eps)``.

    The mean is taken in each channel over the square window of side ``2 r + 1``, zeros outside the image included.

    Args:
        input: ``(1, C, H, W)``, not negative.
        normalization_radius: r, in pixels.
    """
    input = input if input.is_floating_point() else input.to(torch.get_default_dtype())
    side = 2 * normalization_radius + 1
    # A convolution, for avg_pool2d rounds otherwise, and a last digit can change the order in which pixels spike.
    window = input.new_full((1, 1, side, side), 1 / side**2)
    mean = conv2d(input.reshape(-1, 1, *input.shape[-2:]), window, padding=normalization_radius)
    return input / (mean.view_as(input) + eps)
