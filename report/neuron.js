// What one neuron sees and adds up. draw.js computes whole maps with the same functions.

// The spikes (channel, row, column) of each time step, in the order in which the kernels add them: by row, column, channel.
function sortByTime(latency, [channels, rows, columns]) {
  const spikes = Array.from({ length: run.steps }, () => []);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      for (let c = 0; c < channels; c++) spikes[latency[(c * rows + y) * columns + x]]?.push(c, y, x);
  return spikes;
}

// Add the weights of spikes to potentials, rows (Ho, Wo) of F numbers.
function addWeights(potentials, spikes, { kernel, padding, weights, shape: [features, height, width] }) {
  for (let s = 0; s < spikes.length; s += 3) {
    const c = spikes[s], y = spikes[s + 1] + padding, x = spikes[s + 2] + padding;
    for (let ky = Math.max(0, y - height + 1); ky <= Math.min(kernel - 1, y); ky++)
      for (let kx = Math.max(0, x - width + 1); kx <= Math.min(kernel - 1, x); kx++) {
        const to = ((y - ky) * width + x - kx) * features, from = ((c * kernel + ky) * kernel + kx) * features;
        for (let f = 0; f < features; f++) potentials[to + f] += weights[from + f];
      }
  }
}

const findBelow = stage => run.stages.findIndex(({ name }) => name === stage.inputs[0]);

// The spike times (C, k, k) of the inputs of the neuron at a row and a column of a part, which has weights.
function findInputs(maps, stage, { kernel, reads: [, , padding] }, row, column) {
  const below = run.stages[findBelow(stage)], [rows, columns] = below.size, map = bytes(maps[below.name]), area = kernel * kernel;
  return Uint8Array.from({ length: map.length / rows / columns * area }, (_, i) => {
    const y = row - padding + (i % area / kernel | 0), x = column - padding + i % kernel;
    return y >= 0 && y < rows && x >= 0 && x < columns ? map[((i / area | 0) * rows + y) * columns + x] : run.steps;
  });
}

// The potential after each time step of a neuron with weights (C, k, k), in their type, as the kernels add them.
function addUp(times, weights, kernel) {
  const sum = new weights.constructor(1), neuron = { kernel, padding: 0, weights, shape: [1, 1, 1] };
  return sortByTime(times, [times.length / kernel / kernel, kernel, kernel]).map(spikes => {
    addWeights(sum, spikes, neuron);
    return sum[0];
  });
}

// The range of the input's rows (or columns) that a range of rows of a part sees.
function see(stage, part, first, last) {
  const below = run.stages[findBelow(stage)];
  if (!below) return [first, last];
  if (!part.reads) return [0, Infinity];
  const [size, stride, padding] = part.reads, shift = part.kernel ? 0 : part.top;  // each part of a pooling reads one part
  const from = (first + shift) * stride - padding, to = (last + shift) * stride - padding + size - 1;
  const seen = below.parts.filter((_, i) => part.kernel || i === stage.parts.indexOf(part)).map(other => see(below, other, from - other.top, to - other.top));
  return [Math.min(...seen.map(([start]) => start)), Math.max(...seen.map(([, end]) => end))];
}

// By how much a weight would change: interpolated between weights from one bound to the other.
function findChange({ changes, bounds: [lower, upper] }, weight, rate) {
  const table = changes[rate], at = Math.max(0, Math.min(1, (weight - lower) / (upper - lower))) * (table.length - 1), i = Math.min(at | 0, table.length - 2);
  return table[i] + (at - i) * (table[i + 1] - table[i]);
}
