"""The channels of a network's input: which of them form a scale, and the names of scales and channels."""

from collections.abc import Sequence

from engine.encoder import Encoder

COLOURS = "red", "green", "blue"
SIDES = {1: "on ", -1: "off ", 0: ""}


def describe_features(encoder: Encoder) -> str:
    """Return what the colours of preferred features mean, see ``preferred.compute_preferred_features``."""
    if encoder.colours == len(COLOURS) and encoder.channels % len(COLOURS) == 0:
        return "a colour: responds to it, grey: to none"
    if any(encoder.polarity):
        return "light: responds to light, dark: to dark, grey: to neither"
    return "light: has strong synapses"


def group_scales(polarity: Sequence[int]) -> list[list[int]]:
    """Return the channels of each scale: [on, off] if they follow each other, otherwise a single channel."""
    groups: list[list[int]] = []
    for channel, sign in enumerate(polarity):
        if sign == -1 and channel and polarity[channel - 1] == 1:
            groups[-1].append(channel)
        else:
            groups.append([channel])
    return groups


def name_scales(encoder: Encoder) -> list[str]:
    """Return a name for each scale of ``group_scales``, such as "3×3" or "red 3×3", or its number."""
    names = list(encoder.channel_names or encoder.scales)
    count = len(group_scales(encoder.polarity))
    if len(names) != count:
        return [str(number) for number in range(1, count + 1)]
    if encoder.colours == len(COLOURS) and len(set(names)) < count:  # those of one colour, repeated
        each = count // len(COLOURS)
        names = [f"{COLOURS[position // each]} {name}" for position, name in enumerate(names)]
    return names


def name_channels(encoder: Encoder) -> list[str]:
    """Return a name for each channel, such as "on 3×3"."""
    polarity = encoder.polarity
    names = []
    for name, channels in zip(name_scales(encoder), group_scales(polarity), strict=True):
        names += [f"{SIDES[polarity[channel]]}{name}" for channel in channels]
    return names
