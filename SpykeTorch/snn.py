"""Modules: spiking convolution, pooling, and STDP as a rule that changes the weights of a convolution."""

import re

import torch
import torch.nn as nn
from torch import Tensor

from . import functional as sf
from .functional import to_pair

RATE = re.compile(r"(ltp|ltd)_(0|[1-9][0-9]*)")  # the original's name for the rate of one feature


class Convolution(nn.Module):
    """Potentials of a layer of integrate-and-fire neurons: ``p[t] = Σ w · wave[t]`` over the receptive field.

    Stride 1, no padding (see ``functional.pad``), no bias, no gradient. Since the wave is cumulative, so are the
    potentials if no weight is negative.

    Args:
        in_channels, out_channels: C, F.
        kernel_size: a number or ``(kh, kw)``.
        weight_mean, weight_std: of the normal distribution of the initial weights ``(F, C, kh, kw)``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size, weight_mean=0.8, weight_std=0.02):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = to_pair(kernel_size)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size), requires_grad=False)
        self.reset_weight(weight_mean, weight_std)

    @torch.no_grad()
    def reset_weight(self, weight_mean: float = 0.8, weight_std: float = 0.02) -> None:
        """Draw new weights from a normal distribution."""
        self.weight.normal_(weight_mean, weight_std)

    @torch.no_grad()
    def load_weight(self, target: Tensor) -> None:
        """Copy the weights ``(F, C, kh, kw)``; raises a ValueError if the shape differs."""
        if target.shape != self.weight.shape:
            raise ValueError(f"weights of shape {tuple(target.shape)} for a layer of {tuple(self.weight.shape)}")
        self.weight.copy_(target)

    def forward(self, input: Tensor) -> Tensor:
        """Return the potentials ``(T, F, H - kh + 1, W - kw + 1)`` of a wave ``(T, C, H, W)`` of any type."""
        return sf.conv2d(input.to(self.weight.dtype), self.weight.detach())

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"


class Pooling(nn.Module):
    """Module form of ``functional.pooling``; ``stride`` defaults to the kernel's size."""

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size = to_pair(kernel_size)
        self.stride = self.kernel_size if stride is None else to_pair(stride)
        self.padding = to_pair(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled wave ``(T, C, H', W')`` of a wave ``(T, C, H, W)``."""
        return sf.pooling(input, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class STDP(nn.Module):
    """Spike-timing-dependent plasticity of a convolution's winners; the rule is ``functional.stdp_change``.

    A call changes the kernels of the winning features and clamps all weights to the bounds:

        w ← clamp(w + Σ_winners Δw(w), lower, upper)

    A winner's weight below the smallest normal number (float32: 1.2e-38) becomes 0. Every Δw is computed from the
    weights before the call. A call without winners changes nothing. The first call clamps all weights. Later calls
    clamp the winners' kernels only, unless something other than an STDP with the same bounds has changed the weights.
    Such a change is detected by the weight's version, which torch counts for in-place operations, ``load_weight`` and
    ``load_state_dict``, but not for operations on ``weight.data``.

    The state dict contains the rates ``ltp`` and ``ltd``, float64 ``(F,)``, but not the convolution, which belongs to
    the network. The attributes ``ltp_0``, ``ltd_0``, … are views ``(1,)`` of the rates, through which they can be set.
    State dicts of the original library, which hold ``ltp_0``, … and ``conv_layer.weight``, can be loaded too.

    Args:
        conv_layer: the ``Convolution`` that learns.
        learning_rate: ``(ltp, ltd)``, or one such pair per feature; copied.
        use_stabilizer: scale the changes with ``(w - lower) (upper - w)``.
        lower_bound, upper_bound: of the weights.
    """

    def __init__(self, conv_layer: Convolution, learning_rate, use_stabilizer=True, lower_bound=0, upper_bound=1):
        super().__init__()
        is_pair = torch.as_tensor(learning_rate[0]).numel() == 1
        pairs = [learning_rate] * len(conv_layer.weight) if is_pair else learning_rate
        self._conv_layer = (conv_layer,)  # a tuple hides it from nn.Module, which would save its weight a second time
        self.use_stabilizer = use_stabilizer
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        rates = torch.tensor([[float(rate) for rate in pair] for pair in pairs], dtype=torch.float64)
        ltp, ltd = rates.to(conv_layer.weight.device).unbind(1)
        self.register_buffer("ltp", ltp.clone())
        self.register_buffer("ltd", ltd.clone())

    @property
    def conv_layer(self) -> Convolution:
        return self._conv_layer[0]

    def __getattr__(self, name):
        rate = RATE.fullmatch(name)
        if rate is None or int(rate[2]) >= len(self.ltp):
            return super().__getattr__(name)
        return getattr(self, rate[1])[int(rate[2])].view(1)

    def __setattr__(self, name, value):
        if RATE.fullmatch(name):
            with torch.no_grad():
                getattr(self, name)[:] = value
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs):
        reports = metadata, strict, missing_keys, unexpected_keys, error_msgs
        rates = []
        for feature in range(len(self.ltp)):
            rates += [f"{prefix}ltp_{feature}", f"{prefix}ltd_{feature}"]
        layer = prefix + "conv_layer."
        if state_dict.keys() & {*rates, layer + "weight"}:  # a state dict of the original library
            self.conv_layer._load_from_state_dict(state_dict, layer, *reports)
            for key in [key for key in state_dict if key.startswith(layer)]:
                del state_dict[key]
            missing_keys += [key for key in rates if key not in state_dict]
            for key in state_dict.keys() & {*rates}:
                setattr(self, key.removeprefix(prefix), state_dict.pop(key))
            state_dict.update({prefix + "ltp": self.ltp, prefix + "ltd": self.ltd})
        super()._load_from_state_dict(state_dict, prefix, *reports)

    @property
    def learning_rate(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """``(ltp, ltd)`` of each feature, as one-element views: to write into one sets the rate."""
        return tuple(zip(self.ltp.split(1), self.ltd.split(1), strict=True))

    def update_learning_rate(self, feature: int, ap: float, an: float) -> None:
        """Set the rates of one feature."""
        self.ltp[feature] = ap
        self.ltd[feature] = an

    def update_all_learning_rate(self, ap: float, an: float) -> None:
        """Set the rates of all features."""
        self.ltp[:] = ap
        self.ltd[:] = an

    def get_pre_post_ordering(self, input_spikes: Tensor, output_spikes: Tensor, winners) -> list[Tensor]:
        """Return booleans ``(C, kh, kw)`` per winner, True where the input spiked no later than the winner.

        Arguments and errors are those of ``functional.pre_post_ordering``.
        """
        if len(winners) == 0:
            return []
        return list(sf.pre_post_ordering(input_spikes, output_spikes, winners, self.conv_layer.kernel_size))

    @torch.no_grad()
    def forward(self, input_spikes, potentials, output_spikes, winners=None, kwta=1, inhibition_radius=0) -> None:
        """Apply the rule once.

        Args:
            input_spikes: wave ``(T, C, H, W)``, padded as the input of the convolution.
            potentials: ``(T, F, H', W')``, read only if ``winners`` is None.
            output_spikes: wave ``(T, F, H', W')``.
            winners: list of ``(feature, row, column)``; ``None``: ``functional.get_k_winners`` chooses up to ``kwta``
                with the inhibition radius.

        Raises:
            ValueError: the sizes do not belong together, or a winner's spikes are not cumulative.
            IndexError: a winner is outside the output.
        """
        if winners is None:
            winners = sf.get_k_winners(potentials, kwta, inhibition_radius, output_spikes)
        if len(winners) == 0:
            return
        layer = self.conv_layer
        bounds = self.lower_bound, self.upper_bound
        weight = layer.weight
        causal = sf.pre_post_ordering(input_spikes, output_spikes, winners, layer.kernel_size)
        features = torch.as_tensor(winners, dtype=torch.long, device=weight.device)[:, 0]
        ltp, ltd = (rate.to(weight.device)[features].view(-1, 1, 1, 1) for rate in (self.ltp, self.ltd))
        change = sf.stdp_change(weight[features], causal, ltp, ltd, self.use_stabilizer, *bounds)
        is_clamped = getattr(layer, "clamped_state", None) == (weight.data_ptr(), weight._version, *bounds)
        weight.index_add_(0, features, change)
        if not is_clamped:
            weight.clamp_(*bounds)
        rows = weight[features].clamp_(*bounds)
        # The stabilizer drives weights towards 0 forever, and a CPU adds denormal numbers ten times slower.
        rows[rows.abs() < torch.finfo(weight.dtype).tiny] = 0
        weight[features] = rows
        # The layer keeps this state, because STDP and anti-STDP of a layer take turns.
        vars(layer)["clamped_state"] = weight.data_ptr(), weight._version, *bounds
