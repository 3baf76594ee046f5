"""The operations of first-spike networks on latency maps: compiled, event-driven, on a CPU.

Every input spike adds its weights, once and at its time, to the potentials it reaches; a frame-based simulation
convolves the whole cumulative wave again at every time step. Learning stays one image after another; what runs in
parallel (images in layers that do not learn, blocks of features in the decision layer) does not change a single bit.

An input map is (C, H, W) uint8, value = time step of the spike, ``steps`` = silent. A layer has F features, k×k
kernels, ``pad`` zeros on each side and the output (F, Ho, Wo). Inside the kernels

* a *row* holds one number per feature, padded with zeros to whole vector blocks (``width`` numbers);
* the weights of a firing layer are rows (C, k, k), its potentials rows (Ho, Wo) with the columns mirrored: the outputs
  that a spike reaches within one line and the weights it adds there are then two runs of memory in the same order,
  and one long vector addition does them all;
* the weights of a decision layer are (blocks of features, k, k, C) rows: one kernel offset of one block stays in the
  innermost cache while many images pass over it;
* for learning, the weights stand also *turned*, (F, k · k, C): a winner's synapses at one kernel offset are a run of
  memory beside the times of their inputs. What changes there is carried over to the rows.
"""

import numpy as np
from numba import get_num_threads, prange

from engine.compiled import compiled
from engine.event.simd import BLOCK_BYTES, add_rows, any_above, lanes, mark_above

# Features in a block of a decision layer, and images whose decisions are prepared together: each image changes one
# feature, so the features changed within a block of images fill one block of features.
BLOCK = 32


@compiled
def _aligned(count, like):
    """``count`` numbers of the type of ``like`` that begin a cache line: no vector of a row straddles two lines."""
    raw = np.empty(count + BLOCK_BYTES // like.itemsize, like.dtype)
    skip = (-raw.ctypes.data % BLOCK_BYTES) // raw.itemsize
    return raw[skip : skip + count]


# ---------------------------------------------------------------------------------------------------------------------
# Layouts of the weights


@compiled
def _turn(weight, turned):
    """weight (F, C, k, k) -> (F, k · k, C): a neuron's synapses at one kernel offset are one run of memory."""
    flat = weight.reshape(weight.shape[0], weight.shape[1], -1)
    for f in range(flat.shape[0]):
        for offset in range(flat.shape[2]):
            for c in range(flat.shape[1]):
                turned[f, offset, c] = flat[f, c, offset]


@compiled
def _turn_back(turned, weight):
    """(F, k · k, C) -> weight (F, C, k, k)."""
    flat = weight.reshape(weight.shape[0], weight.shape[1], -1)
    for f in range(flat.shape[0]):
        for c in range(flat.shape[1]):
            for offset in range(flat.shape[2]):
                flat[f, c, offset] = turned[f, offset, c]


@compiled
def _to_rows(weight, rows):
    """weight (F, C, k, k) -> rows (C, k, k)."""
    features = weight.shape[0]
    flat = weight.reshape(features, -1)
    width = rows.size // flat.shape[1]
    for start in range(0, features, 16):  # a cache line of a row at a time
        for synapse in range(flat.shape[1]):
            for f in range(start, min(start + 16, features)):
                rows[synapse * width + f] = flat[f, synapse]


# ---------------------------------------------------------------------------------------------------------------------
# Spikes in the order of their time


@compiled
def _sort_by_time(latency, steps, stride, spikes):
    """List the spikes of latency (C, H, W) by (time, pixel, channel); returns (rows, groups, step_groups, times).

    ``rows[i]``: channel · stride of the i-th spike. A group is all spikes of one pixel at one time: ``groups[g]`` =
    (line, column, first spike), with one entry more at the end. ``step_groups[t]``: the first group of time step t.
    ``times`` (H · W, C): the latencies, with a pixel's channels in one run.
    """
    rows, groups, step_groups, times, found, pixel = spikes
    channels, height, width = latency.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                times[y * width + x, c] = latency[c, y, x]
    in_order = times.reshape(-1)
    count = 0
    for i in range(in_order.size):
        found[count] = i  # always, and kept if there is a spike: a branch would be guessed wrong too often
        count += in_order[i] < steps
    place = np.zeros(steps + 1, np.int64)
    for i in found[:count]:
        place[in_order[i] + 1] += 1
    for t in range(steps):
        place[t + 1] += place[t]
    ends = place[1:].copy()
    for i in found[:count]:
        t = in_order[i]
        rows[place[t]] = i % channels * stride
        pixel[place[t]] = i // channels
        place[t] += 1
    group = 0
    i = 0
    for t in range(steps):
        step_groups[t] = group
        last = -1
        while i < ends[t]:
            if pixel[i] != last:
                last = pixel[i]
                groups[group, 0] = last // width
                groups[group, 1] = last % width
                groups[group, 2] = i
                group += 1
            i += 1
    step_groups[steps] = group
    groups[group, 2] = count
    return rows, groups, step_groups, times


@compiled
def _integrate(first, last, rows, groups, weight, kernel, pad, width, out_h, out_w, potential, skip, closed):
    """Add the spikes of the groups first … last-1 to the potentials; returns the range of output lines touched.

    With ``skip``, the potentials of positions that are ``closed`` (Ho, mirrored Wo) need not be right any more.
    """
    top, bottom = out_h, 0
    for g in range(first, last):
        y = groups[g, 0] + pad
        x = groups[g, 1] + pad
        # the run of output columns that the spike reaches
        leftmost = max(0, out_w - 1 - x)
        end = out_w - x + min(kernel - 1, x)
        for ky in range(max(0, y - out_h + 1), min(kernel - 1, y) + 1):
            line = y - ky
            column = leftmost
            while column < end:
                stop = end
                if skip:
                    if closed[line, column]:
                        column += 1
                        continue
                    stop = column + 1
                    while stop < end and not closed[line, stop]:
                        stop += 1
                add_rows(
                    potential,
                    (line * out_w + column) * width,
                    weight,
                    rows,
                    groups[g, 2],
                    groups[g + 1, 2],
                    (ky * kernel + column - (out_w - 1 - x)) * width,
                    (stop - column) * width,
                )
                top = min(top, line)
                bottom = max(bottom, line + 1)
                column = stop
    return top, bottom


# ---------------------------------------------------------------------------------------------------------------------
# Firing


@compiled
def _pool_out(marks, steps, features, width, out_h, out_w, pool, out):
    """marks: rows (Ho, mirrored Wo) of latencies -> out (F, Ho/pool, Wo/pool): the earliest spike of each window."""
    row = np.empty(width, np.uint8)
    for py in range(out_h // pool):
        for px in range(out_w // pool):
            row[:] = steps
            for y in range(py * pool, (py + 1) * pool):
                for x in range(px * pool, (px + 1) * pool):
                    at = (y * out_w + out_w - 1 - x) * width
                    window = marks[at : at + width]
                    for f in range(width):
                        row[f] = min(row[f], window[f])
            for f in range(features):
                out[f, py, px] = row[f]


@compiled
def _fire_image(latency, steps, weight, features, width, kernel, pad, threshold, pool, scratch, out):
    potential, marks, spikes = scratch
    out_h = latency.shape[1] + 2 * pad - kernel + 1
    out_w = latency.shape[2] + 2 * pad - kernel + 1
    rows, groups, step_groups, _ = _sort_by_time(latency, steps, kernel * kernel * width, spikes)
    potential[:] = 0
    marks[:] = steps
    closed = np.zeros((1, 1), np.bool_)  # not looked at
    for t in range(steps):
        top, bottom = _integrate(
            step_groups[t], step_groups[t + 1], rows, groups, weight, kernel, pad, width, out_h, out_w, potential,
            False, closed,
        )  # fmt: skip
        if bottom > top:
            at = top * out_w * width
            mark_above(marks, at, potential, at, bottom * out_w * width - at, threshold, np.uint8(t))
    _pool_out(marks, steps, features, width, out_h, out_w, pool, out)


@compiled
def _scratch(latency, steps, weight, width, out_h, out_w):
    """Work space for images of one size: potentials, first spikes, and what ``_sort_by_time`` needs."""
    channels, pixels = latency.shape[1], latency.shape[2] * latency.shape[3]
    size = channels * pixels + 1
    return (
        _aligned(out_h * out_w * width, weight),
        np.empty(out_h * out_w * width, np.uint8),
        (
            np.empty(size, np.int32),
            np.empty((size, 3), np.int32),
            np.empty(steps + 1, np.int64),
            np.empty((pixels, channels), np.uint8),
            np.empty(size, np.uint32),
            np.empty(size, np.int32),
        ),
    )


@compiled(parallel=True)
def _fire(latency, steps, weight, features, width, kernel, pad, threshold, pool, threads, out):
    images = latency.shape[0]
    out_h = latency.shape[2] + 2 * pad - kernel + 1
    out_w = latency.shape[3] + 2 * pad - kernel + 1
    parts = min(images, threads)
    for part in prange(parts):
        scratch = _scratch(latency, steps, weight, width, out_h, out_w)
        # every parts-th image: neighbours in the data set may be alike in cost
        for n in range(part, images, parts):
            _fire_image(latency[n], steps, weight, features, width, kernel, pad, threshold, pool, scratch, out[n])


@compiled
def _tolerance(values):
    """Relative difference under which two sums of weights are taken as equal.

    Sums taken in different order differ by rounding. In float64 that is far below any real difference, and is not to
    decide; in float32 it is not, and nothing would be gained by taking real differences as ties.
    """
    return values.dtype.type(64 * np.finfo(np.float64).eps if values.itemsize == 8 else 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Competition: point-wise inhibition, then K winners


@compiled
def _compete(latency, steps, weight, features, width, kernel, pad, threshold, limit, radius, full, scratch, winners):
    """Winners of one image, each (feature, line, column, time step), into ``winners``; returns how many.

    Winners are wanted earliest first, so the image is followed only up to the time step of the last of them, and only
    at the positions where one could still come from, unless ``full`` (then ``marks`` holds the first spikes of all
    neurons afterwards). Point-wise inhibition leaves at each position the feature that crosses first, and of several at
    once the one with the highest potential, then the lowest index. Among those left: the earliest, then the highest
    potential, then the lowest flat index (F, Ho, Wo).
    Two neurons that see the same patch at different times have the same potential but for rounding: see ``_tolerance``.
    """
    tolerance = _tolerance(weight)
    potential, marks, spikes = scratch
    out_h = latency.shape[1] + 2 * pad - kernel + 1
    out_w = latency.shape[2] + 2 * pad - kernel + 1
    rows, groups, step_groups, _ = _sort_by_time(latency, steps, kernel * kernel * width, spikes)
    potential[:] = 0
    if full:
        marks[:] = steps
    # positions, with mirrored columns as the potentials
    blocked = np.zeros((out_h, out_w), np.bool_)  # within the radius of a winner
    closed = np.zeros((out_h, out_w), np.bool_)  # blocked, or a feature has crossed here: no winner can come any more
    open_positions = out_h * out_w
    won = np.zeros(features, np.bool_)
    candidate = np.empty((out_h * out_w, 3), np.int32)
    strength = np.empty(out_h * out_w, weight.dtype)
    found = 0
    for t in range(steps):
        top, bottom = _integrate(
            step_groups[t], step_groups[t + 1], rows, groups, weight, kernel, pad, width, out_h, out_w, potential,
            # looking costs more than it saves while few positions are closed
            not full and 4 * open_positions < 3 * out_h * out_w, closed,
        )  # fmt: skip
        if bottom <= top:
            continue
        if full:
            at = top * out_w * width
            mark_above(marks, at, potential, at, bottom * out_w * width - at, threshold, np.uint8(t))
            if found == limit or open_positions == 0:
                continue
        count = 0
        for y in range(top, bottom):
            for x in range(out_w):
                at = (y * out_w + x) * width
                if closed[y, x] or not any_above(potential, at, width, threshold):
                    continue
                closed[y, x] = True
                open_positions -= 1
                best = 0
                for f in range(1, features):
                    if potential[at + f] > potential[at + best]:
                        best = f
                strength[count] = potential[at + best]
                candidate[count, 0] = best
                candidate[count, 1] = y
                candidate[count, 2] = x
                count += 1
        while found < limit:
            highest = potential.dtype.type(0)
            for i in range(count):
                if not won[candidate[i, 0]] and not blocked[candidate[i, 1], candidate[i, 2]]:
                    highest = max(highest, strength[i])
            best = -1
            lowest_index = 0
            for i in range(count):
                f, y, x = candidate[i, 0], candidate[i, 1], candidate[i, 2]
                if won[f] or blocked[y, x] or strength[i] < highest * (1 - tolerance):
                    continue
                index = (f * out_h + y) * out_w + out_w - 1 - x
                if best < 0 or index < lowest_index:
                    best, lowest_index = i, index
            if best < 0:
                break
            f, y, x = candidate[best, 0], candidate[best, 1], candidate[best, 2]
            won[f] = True
            for line in range(max(0, y - radius), min(out_h, y + radius + 1)):
                for column in range(max(0, x - radius), min(out_w, x + radius + 1)):
                    blocked[line, column] = True
                    open_positions -= not closed[line, column]
                    closed[line, column] = True
            winners[found, 0] = f
            winners[found, 1] = y
            winners[found, 2] = out_w - 1 - x
            winners[found, 3] = t
            found += 1
        if not full and (found == limit or open_positions == 0):
            break
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Plasticity


@compiled
def _clamp(weight, features, width, bounds):
    """Clip rows of weights, but not their padding."""
    for at in range(0, weight.size, width):
        for f in range(features):
            weight[at + f] = min(max(weight[at + f], bounds[0]), bounds[1])


@compiled
def _within(weight, features, width, bounds):
    outside = 0
    for at in range(0, weight.size, width):
        for f in range(features):
            outside += (weight[at + f] < bounds[0]) | (weight[at + f] > bounds[1])
    return outside == 0


@compiled
def _plasticity(w, rate, stabilize, bounds, tiny):
    """The new value of one weight: w + rate · s(w), within the bounds.

    Weights below the smallest normal number become 0: the stabilizer drives weights towards 0 for ever, and additions
    of denormal numbers are many times slower.
    """
    change = rate * ((w - bounds[0]) * (bounds[1] - w)) if stabilize else rate
    w = min(max(w + change, bounds[0]), bounds[1])
    return w if abs(w) >= tiny else w - w


@compiled
def _renew(times, size, synapses, kernel, pad, winner, rates, stabilize, bounds, tiny, renewed):
    """New values of the synapses (k · k, C) of a winner (feature, line, column, time), into ``renewed``.

    That is other memory: in place, the loops could not be vectorised.
    ``times`` (H · W, C): when the inputs spiked; ``size`` = (H, W).
    """
    channels = synapses.shape[1]
    # read once: the compiler cannot know that they stay
    potentiation, depression, time = rates[0], rates[1], np.uint8(winner[3])
    for ky in range(kernel):
        for kx in range(kernel):
            offset = ky * kernel + kx
            y, x = winner[1] + ky - pad, winner[2] + kx - pad
            if 0 <= y < size[0] and 0 <= x < size[1]:
                pixel = y * size[1] + x
                for c in range(channels):
                    rate = potentiation if times[pixel, c] <= time else depression
                    renewed[offset, c] = _plasticity(synapses[offset, c], rate, stabilize, bounds, tiny)
            else:
                for c in range(channels):
                    renewed[offset, c] = _plasticity(synapses[offset, c], depression, stabilize, bounds, tiny)


@compiled
def _update_winner(times, size, winner, synapses, rows, width, kernel, pad, rates, stabilize, bounds, tiny, renewed):
    """STDP of one winner on its synapses (k · k, C), and on the rows (C, k, k) where they change.

    Most do not any more after some thousand images: the stabilizer has driven them to a bound. A feature's numbers in
    the rows lie far apart, so only what differs is carried over.
    """
    _renew(times, size, synapses, kernel, pad, winner, rates, stabilize, bounds, tiny, renewed)
    offsets, channels = synapses.shape
    for offset in range(offsets):
        differ = False
        for c in range(channels):
            differ |= renewed[offset, c] != synapses[offset, c]
        if differ:
            for c in range(channels):
                if renewed[offset, c] != synapses[offset, c]:
                    synapses[offset, c] = renewed[offset, c]
                    rows[(c * offsets + offset) * width + winner[0]] = renewed[offset, c]


@compiled
def _update_winners(
    times, size, winners, turned, rows, width, kernel, pad, rates, stabilize, bounds, tiny, inside, renewed
):  # fmt: skip
    """STDP of all winners of an image. The first update clips every weight, also those of features that did not win."""
    for winner in winners:
        _update_winner(
            times, size, winner, turned[winner[0]], rows, width, kernel, pad, rates, stabilize, bounds, tiny, renewed
        )
    if len(winners) > 0 and not inside[0]:
        _clamp(turned.reshape(-1), turned.size, turned.size, bounds)
        _clamp(rows, len(turned), width, bounds)
        inside[0] = True


@compiled
def _learn_stdp(
    latency, steps, turned, rows, inside, width, kernel, pad, threshold, limit, radius, rates, seen, schedule,
    stabilize, bounds, tiny, winners,
):  # fmt: skip
    """``turned`` (F, k · k, C): the weights; ``rows``: the same in rows, kept in step."""
    out_h = latency.shape[2] + 2 * pad - kernel + 1
    out_w = latency.shape[3] + 2 * pad - kernel + 1
    every, factor, highest, depression = schedule
    scratch = _scratch(latency, steps, rows, width, out_h, out_w)
    times, size = scratch[2][3], latency.shape[2:]
    now, renewed = np.empty(2, rows.dtype), np.empty(turned.shape[1:], rows.dtype)
    for n in range(latency.shape[0]):
        seen[0] += 1
        if every > 0 and seen[0] % every == 0:
            rates[0] = min(rates[0] * factor, highest)
            rates[1] = depression * rates[0]
        now[0], now[1] = rates[0], rates[1]
        found = _compete(
            latency[n], steps, rows, len(turned), width, kernel, pad, threshold, limit, radius, False, scratch,
            winners[n],
        )  # fmt: skip
        _update_winners(
            times, size, winners[n, :found], turned, rows, width, kernel, pad, now, stabilize, bounds, tiny, inside,
            renewed,
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Decision layers: no threshold, the strongest potential at the last time step decides, so only whether an input spiked


@compiled
def _to_block(turned, chosen, block, offset, packed):
    """Copy chosen features of one block at one kernel offset: (F, k · k, C) -> (blocks, k · k, C, BLOCK)."""
    offsets, channels = turned.shape[1:]
    at = (block * offsets + offset) * channels * BLOCK
    for f in chosen:
        lane = at + f - block * BLOCK
        synapses = turned[f, offset]
        for c in range(channels):
            packed[lane + c * BLOCK] = synapses[c]


@compiled
def _to_blocks(turned, chosen, packed):
    """The same for features of any block and all kernel offsets."""
    for block in range(packed.size // turned[0].size // BLOCK):
        within = chosen[chosen // BLOCK == block]
        for offset in range(turned.shape[1]):
            _to_block(turned, within, block, offset, packed)


@compiled
def _sort_by_pixel(latency, steps, rows, first, times):
    """List the spikes of latency (C, H, W) by (pixel, channel): ``rows[first[p] : first[p+1]]`` = channel · BLOCK.

    ``first[0]`` says where the list begins; ``times`` (H · W, C) gets the latencies.
    """
    channels, height, width = latency.shape
    at = first[0]
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                rows[at] = c * BLOCK
                t = latency[c, y, x]
                times[y * width + x, c] = t
                at += t < steps
            first[y * width + x + 1] = at


@compiled
def _add_slice(rows, first, images, shape, weight, block, used, offset, kernel, pad, width, potential, lane):
    """Add the weights of one kernel offset of a block of features to the potentials of ``images`` (a range).

    Only the first ``used`` features of the block need to be right.
    ``potential``: rows (image, Ho, Wo) of ``width``, to whose numbers from ``lane`` on the block belongs.
    """
    channels, height, across = shape
    out_h, out_w = height + 2 * pad - kernel + 1, across + 2 * pad - kernel + 1
    dy, dx = offset // kernel - pad, offset % kernel - pad
    slice_at = (block * kernel * kernel + offset) * channels * BLOCK
    for n in images:
        for oy in range(max(0, -dy), min(out_h, height - dy)):
            for ox in range(max(0, -dx), min(out_w, across - dx)):
                pixel = (oy + dy) * across + ox + dx
                at = ((n * out_h + oy) * out_w + ox) * width + lane
                lo, hi = first[n, pixel], first[n, pixel + 1]
                if used > BLOCK // 2:  # two loops, each of a constant length
                    add_rows(potential, at, weight, rows, lo, hi, slice_at, BLOCK)
                else:
                    add_rows(potential, at, weight, rows, lo, hi, slice_at, BLOCK // 2)


@compiled
def _add_block(rows, first, images, shape, turned, changed, packed, block, kernel, pad, width, potential):
    """Potentials of ``images`` for a block of features, which first gets its part of the changed weights.

    Kernel offset by kernel offset, so that the weights of one stay in the innermost cache. Each potential sums its
    synapses in the order (ky, kx, channel).
    """
    positions = (shape[1] + 2 * pad - kernel + 1) * (shape[2] + 2 * pad - kernel + 1)
    lane = block * BLOCK
    for n in images:  # by the thread that adds to them, whose cache then has them
        for at in range(n * positions * width + lane, (n + 1) * positions * width, width):
            potential[at : at + BLOCK] = 0
    within = changed[changed // BLOCK == block]
    for offset in range(kernel * kernel):
        _to_block(turned, within, block, offset, packed)
        _add_slice(rows, first, images, shape, packed, block, BLOCK, offset, kernel, pad, width, potential, lane)


@compiled
def _peaks(potential, positions, features, width, peak, place):
    """Highest potential of each feature over the positions, and the first position that has it."""
    peak[:] = potential[:width]
    place[:] = 0
    for position in range(1, positions):
        row = potential[position * width : (position + 1) * width]
        for f in range(features):
            if row[f] > peak[f]:
                peak[f] = row[f]
                place[f] = position


@compiled
def _strongest(peak):
    """The first feature within rounding of the highest potential; -1 if no potential is positive: silence."""
    highest = peak[0]
    for f in range(1, peak.size):
        highest = max(highest, peak[f])
    if not highest > 0:
        return -1
    f = 0
    while peak[f] < highest * (1 - _tolerance(peak)):
        f += 1
    return f


@compiled(parallel=True)
def _decide(latency, steps, turned, packed, width, kernel, pad, peaks):
    """Highest potential of each feature of each image, (N, F), for the weights in blocks."""
    images = latency.shape[0]
    shape = latency.shape[1:]
    out_h, out_w = shape[1] + 2 * pad - kernel + 1, shape[2] + 2 * pad - kernel + 1
    features = turned.shape[0]
    unchanged = np.empty(0, np.int64)
    parts = -(-images // BLOCK)
    for part in prange(parts):
        start = part * BLOCK
        count = min(images - start, BLOCK)
        rows = np.empty(count * latency[0].size + 1, np.int32)
        first = np.zeros((count, shape[1] * shape[2] + 1), np.int64)
        times = np.empty((shape[1] * shape[2], shape[0]), np.uint8)
        for n in range(count):
            if n > 0:
                first[n, 0] = first[n - 1, -1]
            _sort_by_pixel(latency[start + n], steps, rows, first[n], times)
        potential = _aligned(count * out_h * out_w * width, packed)
        for block in range(width // BLOCK):
            _add_block(
                rows, first, range(count), shape, turned, unchanged, packed, block, kernel, pad, width, potential
            )  # fmt: skip
        peak = np.empty(width, packed.dtype)
        place = np.empty(width, np.int64)
        for n in range(count):
            at = n * out_h * out_w * width
            _peaks(potential[at:], out_h * out_w, features, width, peak, place)
            peaks[start + n] = peak[:features]


@compiled
def _update_feature(times, size, winner, synapses, kernel, pad, rates, stabilize, bounds, tiny, renewed, slot, slots):
    """STDP of the winner on its synapses (k · k, C), whose new values also go to a slot."""
    _renew(times, size, synapses, kernel, pad, winner, rates, stabilize, bounds, tiny, renewed)
    offsets, channels = synapses.shape
    for offset in range(offsets):
        for c in range(channels):
            synapses[offset, c] = renewed[offset, c]
            slots[(offset * channels + c) * BLOCK + slot] = renewed[offset, c]


@compiled
def _begin(latency, steps, spikes, turned, changed, packed, thread, threads):
    """A thread's part of what precedes a block of images: list their spikes; pack changes that ``_add`` does not."""
    rows, first, times = spikes
    for n in range(thread, latency.shape[0], threads):
        first[n, 0] = n * latency[n].size
        _sort_by_pixel(latency[n], steps, rows, first[n], times[n])
    blocks = packed.size // turned[0].size // BLOCK
    for block in range(blocks // threads * threads, blocks):
        within = changed[changed // BLOCK == block]
        for offset in range(thread, turned.shape[1], threads):
            _to_block(turned, within, block, offset, packed)


@compiled
def _add(shape, spikes, turned, changed, packed, kernel, pad, count, potential, thread, threads):
    """A thread's part of the potentials of a block of ``count`` images: as many whole blocks of features as the others
    have, which it also packs, and some images of those left over."""
    rows, first, _ = spikes
    width = packed.size // turned[0].size
    blocks, flat = width // BLOCK, potential.reshape(-1)
    whole = blocks // threads * threads
    for block in range(thread, whole, threads):
        _add_block(rows, first, range(count), shape, turned, changed, packed, block, kernel, pad, width, flat)
    some = range(thread * count // threads, (thread + 1) * count // threads)
    for block in range(whole, blocks):
        _add_block(rows, first, some, shape, turned, changed[:0], packed, block, kernel, pad, width, flat)


@compiled(parallel=True)
def _prepare(latency, steps, spikes, turned, changed, packed, kernel, pad, potential, threads):
    """Potentials of a block of images with the weights as they are; ``packed`` gets those that changed before."""
    count, shape = latency.shape[0], latency.shape[1:]
    for thread in prange(threads):
        _begin(latency, steps, spikes, turned, changed, packed, thread, threads)
    for thread in prange(threads):
        _add(shape, spikes, turned, changed, packed, kernel, pad, count, potential, thread, threads)


@compiled
def _add_slots(rows, first, shape, slots, used, kernel, pad, potential):
    """Potentials of one image for the features in the slots: rows (Ho, Wo) of BLOCK."""
    potential[:] = 0
    for offset in range(kernel * kernel):
        _add_slice(rows, first, range(1), shape, slots, 0, used, offset, kernel, pad, BLOCK, potential, 0)


@compiled
def _decision_scratch(latency, turned, positions):
    """Work space of ``_learn_decisions`` for one size of input."""
    features, synapses = turned.shape[0], turned[0].size
    pixels = latency[0].size
    width = -(-features // BLOCK) * BLOCK
    slots = _aligned(BLOCK * synapses, turned)
    slots[:] = 0
    return (
        (
            np.empty(BLOCK * latency.size + 1, np.int32),  # spikes of a block of images
            np.zeros((BLOCK, pixels + 1), np.int64),  # where those of each pixel begin
            np.zeros((BLOCK, pixels, latency.shape[0]), np.uint8),  # and their times
        ),
        _aligned(BLOCK * positions * width, turned).reshape(BLOCK, -1),  # potentials of a block of images
        np.empty(width, turned.dtype),  # their peaks, for one image
        np.empty(width, np.int64),
        np.empty(turned.shape[1:], turned.dtype),  # new weights of a feature
        slots,  # weights of the features changed within the block of images
        _aligned(positions * BLOCK, turned),  # their potentials
        np.empty(BLOCK, turned.dtype),
        np.empty(BLOCK, np.int64),
    )


@compiled
def _learn_decisions(
    latency, labels, steps, turned, packed, inside, kernel, pad, classes, rates, learning, stabilize, bounds, tiny,
    threads, scratch, winners, highest,
):  # fmt: skip
    """R-STDP of a decision layer, one image after another.

    ``turned`` (F, k · k, C): the weights; ``packed``: the same in blocks, kept in step. ``inside``: all weights are
    within the bounds. ``rates``: (2, 2), [reward, punishment] × [LTP, LTD]; without ``learning`` the layer only
    decides. ``winners`` (N, 3) gets (feature, line, column), or -1; ``highest`` (N,) the winner's potential.

    Each image changes one feature. So the potentials of a block of images are computed together from the weights
    before the block, and per image only the features changed since are computed again; the sums are taken in the same
    order, so the result is the one of computing every image from the beginning.
    """
    images = latency.shape[0]
    shape = latency.shape[1:]
    features = turned.shape[0]
    out_w = shape[2] + 2 * pad - kernel + 1
    positions = (shape[1] + 2 * pad - kernel + 1) * out_w
    width = packed.size // turned[0].size
    spikes, potential, peak, place, renewed, slots, fresh, fresh_peak, fresh_place = scratch
    rows, first, times = spikes
    winner = np.full(4, steps - 1)  # feature, line, column; the last time step
    slot_of = np.full(features, -1)
    changed = np.empty(BLOCK, np.int64)
    used = 0

    start = 0
    while start < images:
        # the first update clips all weights, and with them every feature: no block may reach beyond it
        count = min(BLOCK, images - start) if inside[0] else 1
        some, stale = latency[start : start + count], changed[:used]
        if threads > 1:
            _prepare(some, steps, spikes, turned, stale, packed, kernel, pad, potential, threads)
        else:  # without the start of threads: learn_together comes here for every image
            _begin(some, steps, spikes, turned, stale, packed, 0, 1)
            _add(shape, spikes, turned, stale, packed, kernel, pad, count, potential, 0, 1)
        slot_of[stale] = -1
        used = 0
        for n in range(count):
            _peaks(potential[n], positions, features, width, peak, place)
            if used > 0:
                _add_slots(rows, first[n : n + 1], shape, slots, used, kernel, pad, fresh)
                _peaks(fresh, positions, used, BLOCK, fresh_peak, fresh_place)
                for i in range(used):
                    peak[changed[i]] = fresh_peak[i]
                    place[changed[i]] = fresh_place[i]
            best = _strongest(peak[:features])
            highest[start + n] = peak[max(best, 0)]
            if best < 0:
                winners[start + n] = -1
                continue
            winner[0], winner[1], winner[2] = best, place[best] // out_w, place[best] % out_w
            winners[start + n] = winner[:3]
            if not learning:
                continue
            if slot_of[best] < 0:
                slot_of[best] = used
                changed[used] = best
                used += 1
            outcome = 0 if classes[best] == labels[start + n] else 1
            _update_feature(
                times[n], shape[1:], winner, turned[best], kernel, pad, rates[outcome], stabilize, bounds, tiny,
                renewed, slot_of[best], slots,
            )  # fmt: skip
        if used > 0 and not inside[0]:
            _clamp(turned.reshape(-1), turned.size, turned.size, bounds)
            _to_blocks(turned, np.arange(features), packed)
            inside[0] = True
        start += count
    _to_blocks(turned, changed[:used], packed)


@compiled
def _learn_together(
    latency, labels, steps,
    turned, rows, inside, width, kernel, pad, threshold, limit, radius, pool, rates, stabilize, bounds, tiny,
    top_turned, packed, top_inside, top_kernel, top_pad, classes, top_rates, learning, top_stabilize, top_bounds,
    top_tiny,
    winners, decisions, highest,
):  # fmt: skip
    """R-STDP of a firing layer by the decisions of the layer above it, which may learn too."""
    out_h = latency.shape[2] + 2 * pad - kernel + 1
    out_w = latency.shape[3] + 2 * pad - kernel + 1
    features = len(turned)
    scratch = _scratch(latency, steps, rows, width, out_h, out_w)
    times, size = scratch[2][3], latency.shape[2:]
    renewed = np.empty(turned.shape[1:], rows.dtype)
    between = np.empty((1, features, out_h // pool, out_w // pool), np.uint8)
    positions = (between.shape[2] + 2 * top_pad - top_kernel + 1) * (between.shape[3] + 2 * top_pad - top_kernel + 1)
    top_scratch = _decision_scratch(between[0], top_turned, positions)
    for n in range(latency.shape[0]):
        found = _compete(
            latency[n], steps, rows, features, width, kernel, pad, threshold, limit, radius, True, scratch,
            winners[n],
        )  # fmt: skip
        _pool_out(scratch[1], steps, features, width, out_h, out_w, pool, between[0])
        _learn_decisions(
            between, labels[n : n + 1], steps, top_turned, packed, top_inside, top_kernel, top_pad, classes, top_rates,
            learning, top_stabilize, top_bounds, top_tiny, 1, top_scratch, decisions[n : n + 1], highest[n : n + 1],
        )  # fmt: skip
        if decisions[n, 0] >= 0:
            outcome = 0 if classes[decisions[n, 0]] == labels[n] else 1
            _update_winners(
                times, size, winners[n, :found], turned, rows, width, kernel, pad, rates[outcome], stabilize, bounds,
                tiny, inside, renewed,
            )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# What the layers call


def _typed(rule, dtype):
    """What the kernels need of a learning rule: anything with ``stabilize`` and ``bounds``."""
    scalar = np.dtype(dtype).type
    return rule.stabilize, (scalar(rule.bounds[0]), scalar(rule.bounds[1])), np.finfo(dtype).tiny


def _turned(weight):
    turned = np.empty((weight.shape[0], weight[0, 0].size, weight.shape[1]), weight.dtype)
    _turn(weight, turned)
    return turned


class FiringLayer:
    """A layer with a threshold, its weights in the layout of the kernels: made for a call, not kept.

    weight: (F, C, k, k) float32 or float64, C-contiguous, changed in place by ``learn``.
    """

    def __init__(self, weight, steps, pad, threshold):
        self.weight = weight = np.asarray(weight)
        self.steps, self.pad = steps, pad
        self.features, _, self.kernel, _ = weight.shape
        block = lanes(weight.dtype)
        self.width = -(-self.features // block) * block
        self.threshold = weight.dtype.type(threshold)
        self.rows = _aligned(weight[0].size * self.width, weight)
        self.rows[:] = 0
        _to_rows(weight, self.rows)

    def output_size(self, height, width):
        return height + 2 * self.pad - self.kernel + 1, width + 2 * self.pad - self.kernel + 1

    def fire(self, latency, pool=1):
        """latency (N, C, H, W) -> first spikes (N, F, Ho / pool, Wo / pool), the earliest of each pooling window."""
        latency = np.asarray(latency)
        out_h, out_w = self.output_size(*latency.shape[2:])
        out = np.empty((len(latency), self.features, out_h // pool, out_w // pool), np.uint8)
        if len(latency):
            _fire(
                latency, self.steps, self.rows, self.features, self.width, self.kernel, self.pad, self.threshold, pool,
                get_num_threads(), out,
            )  # fmt: skip
        return out

    def learn(self, latency, winners, radius, rates, seen, schedule, rule):
        """STDP over latency (N, C, H, W), one image after another.

        ``rates`` float64 (2,) and ``seen`` int64 (1,) are read and advanced; ``schedule``: (every, factor, highest,
        depression). Returns the winners, (N, K, 4): feature, line, column, time step; -1: fewer winners.
        """
        latency = np.asarray(latency)
        found, turned = np.full((len(latency), winners, 4), -1, np.int16), _turned(self.weight)
        stabilize, bounds, tiny = _typed(rule, self.rows.dtype)
        _learn_stdp(
            latency, self.steps, turned, self.rows, self._is_inside(bounds), self.width, self.kernel, self.pad,
            self.threshold, winners, radius, rates, seen, schedule, stabilize, bounds, tiny, found,
        )  # fmt: skip
        _turn_back(turned, self.weight)
        return found

    def _is_inside(self, bounds):
        return np.array([_within(self.rows, self.features, self.width, bounds)])


class DecisionLayer:
    """A layer without a threshold, its weights in the layout of the kernels: made for a call, not kept.

    weight: (F, C, k, k) float32 or float64, C-contiguous, changed in place by ``learn``.
    """

    def __init__(self, weight, steps, pad):
        self.weight, self.steps, self.pad = np.asarray(weight), steps, pad
        self.features = len(self.weight)
        width = -(-self.features // BLOCK) * BLOCK
        self.kernel = self.weight.shape[2]
        self.turned = _turned(self.weight)
        self.packed = _aligned(width * self.weight[0].size, self.weight)
        self.packed[:] = 0
        _to_blocks(self.turned, np.arange(self.features), self.packed)

    def peaks(self, latency):
        """Highest potential of each feature at the last time step: latency (N, C, H, W) -> (N, F)."""
        latency = np.asarray(latency)
        peaks = np.empty((len(latency), self.features), self.weight.dtype)
        if len(latency):
            width = self.packed.size // self.weight[0].size
            _decide(latency, self.steps, self.turned, self.packed, width, self.kernel, self.pad, peaks)
        return peaks

    def _is_inside(self, bounds):
        size = self.weight.size
        return np.array([_within(self.weight.reshape(-1), size, size, bounds)])

    def learn(self, latency, labels, classes, rates, rule):
        """R-STDP over latency (N, C, H, W) with labels (N,), one image after another.

        ``classes`` (F,): the class of each feature. ``rates`` (2, 2): reward and punishment, each (LTP, LTD). Returns
        the winners (N, 3): feature, line, column, -1: silent; and their potentials (N,).
        """
        latency = np.asarray(latency)
        stabilize, bounds, tiny = _typed(rule, self.weight.dtype)
        positions = np.prod([side + 2 * self.pad - self.kernel + 1 for side in latency.shape[2:]])
        scratch = _decision_scratch(np.empty(latency.shape[1:], np.uint8), self.turned, positions)
        winners = np.empty((len(latency), 3), np.int16)
        highest = np.empty(len(latency), self.weight.dtype)
        _learn_decisions(
            latency, np.asarray(labels), self.steps, self.turned, self.packed, self._is_inside(bounds), self.kernel,
            self.pad, np.asarray(classes), np.asarray(rates, self.weight.dtype), True, stabilize, bounds, tiny,
            get_num_threads(), scratch, winners, highest,
        )  # fmt: skip
        _turn_back(self.turned, self.weight)
        return winners, highest


def learn_together(firing, deciding, latency, labels, pool, firing_rule, firing_rates, classes, rule, rates):
    """R-STDP of a FiringLayer by the decisions of a DecisionLayer above it, one image after another.

    latency (N, C, H, W): input of the firing layer, whose output is pooled by ``pool`` on its way up; labels (N,).
    Rates (2, 2): reward and punishment, each (LTP, LTD); ``rates`` None: the decision layer does not learn. Returns
    the decision layer's winners (N, 3), as ``DecisionLayer.learn``, and the firing layer's (N, K, 4).
    """
    latency, dtype = np.asarray(latency), deciding.weight.dtype
    stabilize, bounds, tiny = _typed(firing_rule, dtype)
    top_stabilize, top_bounds, top_tiny = _typed(rule, dtype)
    winners = np.full((len(latency), firing_rule.winners, 4), -1, np.int16)
    decisions, turned = np.empty((len(latency), 3), np.int16), _turned(firing.weight)
    _learn_together(
        latency, np.asarray(labels), firing.steps,
        turned, firing.rows, firing._is_inside(bounds), firing.width, firing.kernel, firing.pad,
        firing.threshold, firing_rule.winners, firing_rule.radius, pool, np.asarray(firing_rates, dtype), stabilize,
        bounds, tiny,
        deciding.turned, deciding.packed, deciding._is_inside(top_bounds), deciding.kernel, deciding.pad,
        np.asarray(classes), np.zeros((2, 2), dtype) if rates is None else np.asarray(rates, dtype), rates is not None,
        top_stabilize, top_bounds, top_tiny,
        winners, decisions, np.empty(len(latency), dtype),
    )  # fmt: skip
    _turn_back(turned, firing.weight)
    _turn_back(deciding.turned, deciding.weight)
    return decisions, winners
