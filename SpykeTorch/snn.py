"""Modules: spiking convolution, pooling, and STDP as a rule that acts on a convolution."""

import re

import torch
import torch.nn as nn

from . import functional as sf
from .functional import to_pair

RATE = re.compile(r"(ltp|ltd)_(0|[1-9][0-9]*)")  # what the original calls the rate of one feature


class Convolution(nn.Module):
    """Potentials of a layer of integrate-and-fire neurons: ``p[t] = Σ w · wave[t]`` over the receptive field.

    Stride 1, no padding (see ``functional.pad``), no bias, no gradient. Since the wave is cumulative, so are the
    potentials, as long as no weight is negative.

    Args:
        in_channels, out_channels: C, F.
        kernel_size: a number or ``(kh, kw)``.
        weight_mean, weight_std: of the normal distribution of the initial weights ``(F, C, kh, kw)``.
    """

    def __init__(self, in_channels, out_channels, kernel_size, weight_mean=0.8, weight_std=0.02):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = to_pair(kernel_size)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size), requires_grad=False)
        self.reset_weight(weight_mean, weight_std)

    @torch.no_grad()
    def reset_weight(self, weight_mean=0.8, weight_std=0.02):
        """Draws new weights from a normal distribution."""
        self.weight.normal_(weight_mean, weight_std)

    @torch.no_grad()
    def load_weight(self, target):
        """Copies the weights ``(F, C, kh, kw)``; ValueError if the shape is another."""
        if target.shape != self.weight.shape:
            raise ValueError(f"weights of shape {tuple(target.shape)} for a layer of {tuple(self.weight.shape)}")
        self.weight.copy_(target)

    def forward(self, input):
        """Potentials ``(T, F, H - kh + 1, W - kw + 1)`` of a wave ``(T, C, H, W)`` of any type."""
        (kh, kw), (channels, height, width) = self.kernel_size, input.shape[-3:]
        if channels != self.in_channels:
            raise ValueError(f"an input of {channels} channels for a layer of {self.in_channels}")
        if kh > height or kw > width:
            raise ValueError(f"kernel {kh}x{kw} does not fit a {height}x{width} input")
        return sf.conv2d(input.to(self.weight.dtype), self.weight.detach())

    def extra_repr(self):
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"


class Pooling(nn.Module):
    """Module form of ``functional.pooling``; ``stride`` defaults to the kernel's size."""

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = to_pair(kernel_size)
        self.stride = self.kernel_size if stride is None else to_pair(stride)
        self.padding = to_pair(padding)

    def forward(self, input):
        """``(T, C, H, W)`` → ``(T, C, H', W')``."""
        return sf.pooling(input, self.kernel_size, self.stride, self.padding)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class STDP(nn.Module):
    """Spike-timing-dependent plasticity of a convolution's winners; the rule is ``functional.stdp_change``.

    A call changes the kernels of the winning features and clamps all weights to the bounds:

        w ← clamp(w + Σ_winners Δw(w), lower, upper)

    where every Δw comes from the weights before the call. A call without winners changes nothing.

    All weights are clamped in the first call and whenever they were changed by anything but an STDP of these bounds;
    in between, only the winners' kernels are touched. A change shows in the weight's version, which torch counts for
    in-place operations, ``load_weight`` and ``load_state_dict``; it does not count those on ``weight.data``.

    The convolution is referred to, not owned: its weights appear, and move between devices, with the network that
    holds it. The rates are two float64 buffers ``ltp`` and ``ltd`` of shape ``(F,)``, so that decimals stay exact;
    the arithmetic is done in the type of the weights. ``ltp_0``, ``ltd_0``, … are views ``(1,)`` of them, and setting
    one, to a number or a tensor of one value, sets the rate of that feature.

    State dicts of the original library load too: they hold ``ltp_0``, ``ltd_0``, …, a pair for each feature, and
    ``conv_layer.weight``, which goes to the convolution.

    Args:
        conv_layer: the ``Convolution`` that learns.
        learning_rate: ``(ltp, ltd)``, or one such pair per feature; copied.
        use_stabilizer: scale the changes with ``(w - lower) (upper - w)``.
        lower_bound, upper_bound: of the weights.
    """

    def __init__(self, conv_layer, learning_rate, use_stabilizer=True, lower_bound=0, upper_bound=1):
        super().__init__()
        if lower_bound >= upper_bound:
            raise ValueError(f"lower bound {lower_bound} is not below upper bound {upper_bound}")
        weight = conv_layer.weight
        features = len(weight)
        one_pair = torch.as_tensor(learning_rate[0]).numel() == 1
        pairs = [learning_rate] * features if one_pair else learning_rate
        if len(pairs) != features or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"learning_rate of {features} features is (ltp, ltd) or a list of {features} such pairs")
        self._conv_layer = (conv_layer,)  # in a tuple, because otherwise its weight would be in the state dict twice
        self.use_stabilizer = use_stabilizer
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        rates = torch.tensor([[float(ap), float(an)] for ap, an in pairs], dtype=torch.float64, device=weight.device)
        self.register_buffer("ltp", rates[:, 0].clone())
        self.register_buffer("ltd", rates[:, 1].clone())

    @property
    def conv_layer(self):
        return self._conv_layer[0]

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            rate = RATE.fullmatch(name)
            if rate is None or int(rate[2]) >= len(self.ltp):
                raise
        feature = int(rate[2])
        return getattr(self, rate[1])[feature : feature + 1]

    def __setattr__(self, name, value):
        if name.startswith(("ltp_", "ltd_")) and RATE.fullmatch(name):
            with torch.no_grad():
                getattr(self, name)[:] = value
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs):
        own = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        rates = {f"{kind}_{feature}" for feature in range(len(self.ltp)) for kind in ("ltp", "ltd")}
        told = metadata, strict, missing_keys, unexpected_keys, error_msgs
        if own.keys() & {"ltp", "ltd"} or not own.keys() & {*rates, "conv_layer.weight"}:
            super()._load_from_state_dict(state_dict, prefix, *told)
            return
        self.conv_layer._load_from_state_dict(state_dict, f"{prefix}conv_layer.", *told)
        for name in sorted(rates, key=lambda name: int(name[4:])):
            if name not in own:
                if strict:
                    missing_keys.append(prefix + name)
            elif (rate := torch.as_tensor(own[name])).numel() == 1:
                setattr(self, name, rate)
            else:
                error_msgs.append(
                    f"size mismatch for {prefix}{name}: copying a param with shape {rate.shape} from checkpoint, "
                    f"the shape in current model is {torch.Size([1])}."
                )
        if strict:
            others = (name for name in own if name not in rates and not name.startswith("conv_layer."))
            unexpected_keys.extend(prefix + name for name in others)

    @property
    def learning_rate(self):
        """Per feature ``(ltp, ltd)``, one-element views: they read, and written in place set, the rates."""
        return tuple(zip(self.ltp.split(1), self.ltd.split(1), strict=True))

    def update_learning_rate(self, feature, ap, an):
        """Sets the rates of one feature."""
        self.ltp[feature] = ap
        self.ltd[feature] = an

    def update_all_learning_rate(self, ap, an):
        """Sets the rates of all features."""
        self.ltp[:] = ap
        self.ltd[:] = an

    def get_pre_post_ordering(self, input_spikes, output_spikes, winners):
        """Per winner, booleans ``(C, kh, kw)``: True where the input spiked no later than the winner.

        Arguments and errors as in ``functional.pre_post_ordering``.
        """
        if len(winners) == 0:
            return []
        return list(sf.pre_post_ordering(input_spikes, output_spikes, winners, self.conv_layer.kernel_size))

    @torch.no_grad()
    def forward(self, input_spikes, potentials, output_spikes, winners=None, kwta=1, inhibition_radius=0):
        """Applies the rule once.

        Args:
            input_spikes: wave ``(T, C, H, W)``, padded as the convolution saw it.
            potentials: ``(T, F, H', W')``, needed to choose winners.
            output_spikes: wave ``(T, F, H', W')``.
            winners: list of ``(feature, row, column)``; ``None``: ``functional.get_k_winners`` chooses up to ``kwta``
                with the inhibition radius.

        Raises:
            ValueError: the sizes do not belong together, or a winner's spikes are not cumulative.
        """
        if winners is None:
            winners = sf.get_k_winners(potentials, kwta, inhibition_radius, output_spikes)
        if len(winners) == 0:
            return
        weight = self.conv_layer.weight
        causal = sf.pre_post_ordering(input_spikes, output_spikes, winners, self.conv_layer.kernel_size)
        features = torch.as_tensor(winners, dtype=torch.long, device=weight.device)[:, 0]
        ltp, ltd = (rate.to(weight.device)[features].view(-1, 1, 1, 1) for rate in (self.ltp, self.ltd))
        bounds = self.lower_bound, self.upper_bound
        change = sf.stdp_change(weight[features], causal, ltp, ltd, self.use_stabilizer, *bounds)
        clamped = self._clamped_state(weight) == getattr(self.conv_layer, "clamped_state", None)
        weight.index_add_(0, features, change)
        if not clamped:
            weight.clamp_(*bounds)
        rows = weight[features].clamp_(*bounds)
        # The stabilizer drives weights towards 0 for ever, and a CPU adds denormal numbers ten times slower.
        rows[rows.abs() < torch.finfo(weight.dtype).tiny] = 0
        weight[features] = rows
        # Kept with the layer, because STDP and anti-STDP of a layer take turns.
        self.conv_layer.clamped_state = self._clamped_state(weight)

    def _clamped_state(self, weight):
        """What is as before as long as nothing but an STDP of these bounds has changed the weights."""
        return weight.data_ptr(), weight._version, self.lower_bound, self.upper_bound
