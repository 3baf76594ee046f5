// The network of the page, a paper, and the way from a drawing to the image of the network. A map contains the time step of each neuron's only spike, and
// run.steps for silence, in the order (channel, row, column). A picture is { shape: [rows, columns], bytes: values }.

const exported = JSON.parse($("exported").textContent), network = exported.description;
const shapes = Object.fromEntries(run.stages.map(({ name, size, parts: [{ count }] }) => [name, [count, ...size]]));
const layers = network.stages.map(prepare), decider = layers.find(layer => layer.decides);
const [height, width] = run.stages[0].size, blank = new Uint8Array(height * width), pictures = unpack(exported.pictures);
run.images = exported.labels.map((label, i) => ({
  label, index: exported.indices[i], decision: exported.decisions[i],
  picture: { shape: [height, width], bytes: pictures.subarray(i * blank.length, (i + 1) * blank.length) },
}));
run.images.unshift({ picture: { shape: [height, width], bytes: blank } });  // the drawing

// Add to a stage the shapes of its maps, and its weights, whole numbers.
function prepare({ name, inputs, ...stage }) {
  const layer = { ...stage, name, inputs, below: shapes[inputs[0]], shape: shapes[name], decides: name === network.decision };
  if (!stage.label) return layer;
  const { lowest: least, scale, unit, shape: [features, channels, kernel], bytes: text } = exported.weights[stage.label];
  const whole = Float64Array.from(unpack(text), value => least + scale * value), synapses = channels * kernel * kernel;
  if (stage.kind === "SpikingDense") layer.below = [channels, 1, 1];
  else {
    const low = Math.min(0, lowest(whole) * unit), high = Math.max(1, highest(whole) * unit);
    run.weights[stage.label] = { shape: [features, channels, kernel], floats: whole, unit, low, high };
  }
  layer.unit = unit;
  return arrange(layer, whole);
}

// Give a layer its weights (F, C, k, k), also as rows (C, k, k) of F numbers.
function arrange(layer, whole) {
  const synapses = whole.length / layer.shape[0], features = layer.shape[0];
  return Object.assign(layer, { whole, synapses, weights: whole.map((_, i) => whole[i % features * synapses + (i / features | 0)]) });
}

// The spikes of S1C1, see s1c1.py. All sums are whole numbers below 2^53, so they are exact in any order.
function encode({ shape: [rows, columns], bytes: image }) {
  const { radius, border } = network.encoder, [kernels, windows, thresholds] = exported.filters, area = rows * columns;
  const half = highest(windows) >> 1, wide = columns + 2 * half, clamp = (value, end) => Math.max(0, Math.min(end - 1, value));
  const padded = Float64Array.from({ length: (rows + 2 * half) * wide }, (_, p) => {
    const y = (p / wide | 0) - half, x = p % wide - half, isInside = y >= 0 && y < rows && x >= 0 && x < columns;
    return isInside || border === "edge" ? image[clamp(y, rows) * columns + clamp(x, columns)] : 0;
  });
  const intensities = new Float64Array(2 * kernels.length * area), relative = new Float64Array(intensities.length);
  windows.forEach((window, f) => {
    for (let p = 0; p < area; p++) {
      let response = 0, at = ((p / columns | 0) + half - (window >> 1)) * wide + p % columns + half - (window >> 1);
      for (let j = 0; j < window; j++, at += wide)
        for (let i = 0; i < window; i++) response += padded[at + i] * kernels[f][j][i];
      if (response > 0 && response >= thresholds[f][0]) intensities[2 * f * area + p] = response;
      if (response < 0 && -response >= thresholds[f][1]) intensities[(2 * f + 1) * area + p] = -response;
    }
  });
  const ranked = [...intensities.keys()].filter(i => intensities[i]);
  for (const i of ranked) {
    const y = i % area / columns | 0, x = i % area % columns, top = clamp(y - radius, rows), left = clamp(x - radius, columns);
    const bottom = clamp(y + radius, rows), right = clamp(x + radius, columns);
    let sum = 0;
    for (let line = top; line <= bottom; line++)
      for (let at = i - i % area + line * columns + left, end = at + right - left; at <= end; at++) sum += intensities[at];
    relative[i] = intensities[i] / sum * (border === "edge" ? (bottom - top + 1) * (right - left + 1) : 1);
  }
  ranked.sort((a, b) => relative[b] - relative[a] || a - b);
  const latency = new Uint8Array(intensities.length).fill(run.steps), perBin = Math.max(1, ranked.length / run.steps | 0);
  ranked.slice(0, perBin * run.steps).forEach((i, rank) => latency[i] = rank / perBin | 0);
  return latency;
}

function fire(latency, layer) {
  const { threshold, shape: [features, height, width] } = layer, area = height * width;
  const first = new Uint8Array(features * area).fill(run.steps), potentials = new Float64Array(features * area);
  sortByTime(latency, layer.below).forEach((spikes, t) => {
    addWeights(potentials, spikes, layer);
    for (let position = 0, at = 0; spikes.length && position < area; position++)
      for (let f = 0; f < features; f++, at++)
        if (potentials[at] > threshold && first[f * area + position] > t) first[f * area + position] = t;
  });
  return first;
}

// The spikes that fewer than this share of the features precede at their position.
function inhibit(latency, { share, shape: [features, height, width] }) {
  const rank = Math.max(1, Math.ceil(+(share * features).toFixed(9))), area = height * width;
  const last = Array.from({ length: area }, (_, p) => Uint8Array.from({ length: features }, (_, f) => latency[f * area + p]).sort()[rank - 1]);
  return latency.map((t, i) => t <= last[i % area] ? t : run.steps);
}

function pool(latency, { size, padding, rank, below: [, rows, columns], shape: [features, height, width] }) {
  const window = new Uint8Array(size * size);
  return new Uint8Array(features * height * width).map((_, i) => {
    const f = i / (height * width) | 0, top = (i / width | 0) % height * size - padding, left = i % width * size - padding;
    for (let w = 0; w < window.length; w++) {
      const y = top + (w / size | 0), x = left + w % size, isInside = y >= 0 && y < rows && x >= 0 && x < columns;
      window[w] = isInside ? latency[(f * rows + y) * columns + x] : run.steps;
    }
    return rank === 1 ? Math.min(...window) : window.sort()[rank - 1];
  });
}

// The map that a SpikingDense reads; a level contains only the spikes before a time step.
function join(maps, levels) {
  const all = Uint8Array.from(maps.flatMap(map => [...map]));
  return Uint8Array.from([...levels.flatMap(level => [...all.map(t => t < level ? t : run.steps)]), ...all]);
}

// After each time step, the potentials (F, Ho, Wo), and the highest of each class.
function addAll(latency, layer) {
  const { shape: [features, height, width] } = layer, area = height * width, rows = new Float64Array(features * area), moments = [];
  const race = sortByTime(latency, layer.below).flatMap(spikes => {
    addWeights(rows, spikes, layer);
    moments.push(rows.map((_, i) => rows[i % area * features + (i / area | 0)]));
    const peaks = Array(run.classes.length).fill(-Infinity);
    rows.forEach((sum, i) => { const c = i % features * peaks.length / features | 0; peaks[c] = Math.max(peaks[c], sum); });
    return peaks;
  });
  return [moments, race];
}

// The class of the first feature with the highest potential; -1, silence, if none is above 0.
function vote(potentials) {
  const peak = highest(potentials);
  return peak > 0 ? potentials.indexOf(peak) * run.classes.length / potentials.length | 0 : -1;
}

// Noise with a standard deviation of 1, the same for all pictures; the uniform numbers are those of Park and Miller (1988).
let noise = 0, state = 1;  // noise: its standard deviation, where 1 is the range of a pixel
const uniform = () => (state = state * 48271 % 2147483647) / 2147483647;
const gauss = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
const normal = Float64Array.from(blank, gauss);
const addNoise = ({ shape, bytes: image }) => ({ shape, bytes: image.map((v, i) => Math.max(0, Math.min(255, Math.round(v + 255 * noise * normal[i])))) });

// What remains of the input: the spikes before ``steps``, except those of a share of the inputs, ``silenced``, the same for all pictures.
let steps = run.steps, silenced = 0;
const lots = Float64Array.from({ length: shapes.input.reduce((a, b) => a * b) }, uniform);
const listen = latency => latency.map((t, i) => t < steps && lots[i] >= silenced ? t : run.steps);

// Exchange a share of the weights of each feature at random, the same for all shares. original: the weights (F, C, k, k).
function shuffle(layer, original, share) {
  const whole = original.slice(), lot = i => lots[i % lots.length];
  for (let from = 0; from < whole.length; from += layer.synapses) {
    const places = [...Array(layer.synapses).keys()].map(i => from + i).filter(i => lot(i) < share);
    const order = [...places].sort((a, b) => lot(3 * a) - lot(3 * b));
    places.forEach((i, n) => whole[i] = original[order[n]]);
  }
  run.weights[layer.label].floats = arrange(layer, whole).whole;
}

// Set a threshold in the unit of the floats, as report/exports/draw.py does.
function setThreshold(layer, threshold) {
  const stage = run.stages.find(({ name }) => name === layer.name);
  layer.threshold = Math.floor(threshold / layer.unit * (1 + 1e-12));
  stage.parts[0].threshold = threshold;
  stage.what = `threshold ${threshold}`;
}

// Compute the maps, the potentials and the decision of a picture.
function answer(picture) {
  const seen = noise ? addNoise(picture) : picture, maps = { input: listen(encode(seen)) };
  let moments, race, unit, inputs;
  for (const layer of layers) {
    const below = layer.inputs.map(name => maps[name]), latency = layer.levels && layer.kind === "SpikingDense" ? join(below, layer.levels) : below[0];
    if (layer.decides) [moments, race] = addAll(inputs = latency, layer), unit = layer.unit;
    else maps[layer.name] = { SpikingConv: fire, SpikingDense: fire, Inhibit: inhibit, Pool: pool }[layer.kind](latency, layer);
  }
  const inFloats = values => ({ "": { floats: values.map(sum => sum * unit) } });
  const sums = moments.at(-1), after = moments.map(inFloats);
  return { picture, seen, maps, inputs, potentials: after.at(-1), after, race: inFloats(race), decision: vote(sums) };
}

// ---- Learning: the decision stage learns by its rule (engine/rules.py) in whole numbers, to the bit as the program.

// What it learns from: its inputs, and the class, or ``not``, a class that is wrong. places: for each position of a neuron, the synapses whose inputs spike.
function makeLesson(inputs, target, { below: [channels, rows, columns], kernel, padding, shape: [, height, width] } = decider) {
  const places = Array.from({ length: height * width }, (_, p) => {
    const top = (p / width | 0) - padding, left = p % width - padding, synapses = [];
    for (let i = 0, c = 0; c < channels; c++)
      for (let y = top; y < top + kernel; y++)
        for (let x = left; x < left + kernel; x++, i++)
          if (y >= 0 && y < rows && x >= 0 && x < columns && inputs[(c * rows + y) * columns + x] < run.steps) synapses.push(i);
    return Int32Array.from(synapses);
  });
  return { ...target, places, peaks: [], positions: [], seen: 0 };
}

// Lessons from maps in which a bit tells whether a neuron spikes.
function unpackLessons({ labels, bits: text }) {
  const bits = unpack(text), size = decider.below.reduce((a, b) => a * b), spikes = at => bits[at >> 3] >> 7 - at % 8 & 1;
  return labels.map((label, n) => makeLesson(Uint8Array.from({ length: size }, (_, i) => spikes(n * size + i) ? 0 : run.steps), { label }));
}

const changed = [];  // features, in the order in which they have learned
const classOf = f => f * run.classes.length / decider.shape[0] | 0;
const rowOf = f => decider.whole.subarray(f * decider.synapses, (f + 1) * decider.synapses);

// Find again the highest potential, and the first position that has it, of the features that have changed since the last call.
function refresh(lesson) {
  const stale = lesson.seen ? new Set(changed.slice(lesson.seen - 1)) : Array(decider.shape[0]).keys();
  for (const f of stale) {
    const weights = rowOf(f), sums = lesson.places.map(synapses => {
      let sum = 0;
      for (let i = 0; i < synapses.length; i++) sum += weights[synapses[i]];  // twice as fast as for (… of …)
      return sum;
    });
    lesson.peaks[f] = highest(sums);
    lesson.positions[f] = sums.indexOf(lesson.peaks[f]);
  }
  lesson.seen = changed.length + 1;
}

// The first feature of those with the highest potential among some; -1 if none is above 0.
const findBest = ({ peaks }, isOne = () => true) => peaks.reduce((best, peak, f) => peak > (peaks[best] ?? 0) && isOne(f) ? f : best, -1);

// The decision on a lesson, and whether it is right.
function decide(lesson) {
  refresh(lesson);
  const best = findBest(lesson);
  return best < 0 ? -1 : classOf(best);
}
const isRight = (lesson, decision = decide(lesson)) => lesson.not === undefined ? decision === lesson.label : decision >= 0 && decision !== lesson.not;

// The neurons that learn from a lesson, [feature, row of the rates]: by the margin rule that of the true class and its rival, by R-STDP the one that decides.
function chooseLearners(lesson, { margin } = exported.rule) {
  const { label, peaks } = lesson, decision = decide(lesson);
  if (margin === null) return decision < 0 || label === undefined && isRight(lesson, decision) ? [] : [[findBest(lesson), isRight(lesson, decision) ? 0 : 1]];
  const own = findBest(lesson, f => classOf(f) === label), other = findBest(lesson, f => classOf(f) !== label);
  return own < 0 || other < 0 || peaks[own] >= (1 + margin) * peaks[other] * (1 - 64 * Number.EPSILON) ? [] : [[own, 0], [other, 1]];
}

// Let the neurons learn from a lesson; return them.
function learn(lesson, { rates, bounds: [lower, upper] } = exported.rule) {
  const learners = chooseLearners(lesson);
  for (const [f, row] of learners) {
    const [ltp, ltd] = rates[row], weights = rowOf(f), spiking = new Set(lesson.places[lesson.positions[f]]);
    weights.forEach((w, i) => weights[i] = Math.max(lower, Math.min(upper, w + (spiking.has(i) ? ltp : ltd))));
    changed.push(f);
  }
  return learners;
}

// Present images that are rehearsed, then lessons, round after round, until no neuron is punished for a lesson.
// Return for each lesson the neurons that have learned from it, in each round in which some have.
function practise(lessons, rehearsed, rounds = 50) {
  const learned = lessons.map(() => []);
  for (let isDone = false; !isDone && rounds; rounds--) {
    rehearsed.forEach(each => learn(each));
    isDone = true;
    lessons.forEach((lesson, n) => {
      const learners = learn(lesson);
      if (learners.length) learned[n].push(learners);
      isDone &&= !learners.some(([, row]) => row);
    });
  }
  return learned;
}

// Add a class with as many neurons as each other one, and first weights as before the training.
function addClass(name, { bounds: [lower, upper], first: [mean, deviation] } = exported.rule) {
  const [features, ...size] = decider.shape, more = features / run.classes.length, whole = new Float64Array(decider.whole.length + more * decider.synapses);
  whole.set(decider.whole);
  for (let i = decider.whole.length; i < whole.length; i++) whole[i] = Math.max(lower, Math.min(upper, Math.round(mean + deviation * gauss())));
  for (let f = features; f < features + more; f++) changed.push(f);
  Object.assign(decider, { whole, shape: [features + more, ...size] });
  return run.classes.push(name) - 1;
}

// ---- From the drawing to the image: the steps of imagesets/image_files.py, which evaluate.py --predict applies.

// Round halves to even numbers, as Python does.
function round(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

function transpose({ shape: [rows, columns], bytes: values }) {
  return { shape: [columns, rows], bytes: values.map((_, i) => values[i % rows * columns + (i / rows | 0)]) };
}

// Stretch the rows of floats bilinearly, as Pillow does: if they become shorter, pixels are averaged.
function stretchRows({ shape: [rows, columns], bytes: values }, length) {
  const stretched = new Float32Array(rows * length), scale = columns / length, reach = Math.max(1, scale);
  for (let i = 0; i < length; i++) {
    const middle = (i + 0.5) * scale, first = Math.max(0, middle - reach + 0.5 | 0), end = Math.min(columns, middle + reach + 0.5 | 0);
    const taps = Array.from({ length: end - first }, (_, x) => Math.max(0, 1 - Math.abs((x + first - middle + 0.5) / reach)));
    const total = taps.reduce((a, b) => a + b);
    for (let y = 0; y < rows; y++)
      stretched[y * length + i] = taps.reduce((sum, tap, x) => sum + tap / total * values[y * columns + first + x], 0);
  }
  return { shape: [rows, length], bytes: stretched };
}

// Smooth rows by a Gaussian of σ = 1, which ends at 4 σ; beyond its ends, a row is mirrored.
function smoothRows({ shape: [rows, columns], bytes: values }) {
  const taps = [0, 1, 2, 3, 4].map(d => Math.exp(-d * d / 2)), total = 2 * taps.reduce((a, b) => a + b) - taps[0];
  const smooth = new Float32Array(values.length), row = new Float64Array(columns + 8);
  for (let y = 0; y < rows; y++) {
    for (let x = -4; x < columns + 4; x++) row[x + 4] = values[y * columns + (x < 0 ? -1 - x : x < columns ? x : 2 * columns - 1 - x)];
    for (let x = 0; x < columns; x++) {
      let sum = row[x + 4] * (taps[0] / total);
      for (let d = 4; d > 0; d--) sum += (row[x + 4 - d] + row[x + 4 + d]) * (taps[d] / total);
      smooth[y * columns + x] = sum;
    }
  }
  return { shape: [rows, columns], bytes: smooth };
}

// The median of the outermost pixels, with each corner twice.
function findBorder({ shape: [rows, columns], bytes: values }) {
  const sides = [...values.subarray(0, columns), ...values.subarray((rows - 1) * columns)];
  for (let y = 0; y < rows; y++) sides.push(values[y * columns], values[(y + 1) * columns - 1]);
  sides.sort((a, b) => a - b);
  return Math.fround((sides[rows + columns - 1] + sides[rows + columns]) / 2);
}

// Return the ink in the form of MNIST: scaled to a box, and with its centre of mass in the middle.
function centreCharacter({ shape, bytes: drawn }, height, width, notes) {
  let pixels = { shape, bytes: Float32Array.from(drawn) };
  if (Math.min(...shape) > 40) pixels = smoothRows(transpose(smoothRows(transpose(pixels))));
  const border = findBorder(pixels), image = new Uint8Array(height * width), [, columns] = shape;
  let ink = pixels.bytes.map(value => value - border);
  if (-lowest(ink) > highest(ink)) {
    ink = ink.map(value => -value);
    notes.push("inverted: it was dark on light");
  }
  const contrast = highest(ink), xs = [], ys = [];
  if (contrast < 6) {
    notes.push("nothing to see: no ink found");
    return image;
  }
  ink.forEach((value, i) => { if (value > contrast / 2) xs.push(i % columns), ys.push(i / columns | 0); });
  const top = lowest(ys), left = lowest(xs), high = highest(ys) - top + 1, wide = highest(xs) - left + 1;
  const box = new Float32Array(high * wide);
  ys.forEach((y, i) => box[(y - top) * wide + xs[i] - left] = ink[y * columns + xs[i]]);

  const scale = Math.min(round(20 / 28 * height) / high, round(20 / 28 * width) / wide);
  const narrow = transpose(stretchRows({ shape: [high, wide], bytes: box }, Math.max(1, round(wide * scale))));
  const { shape: [lines, length], bytes: character } = transpose(stretchRows(narrow, Math.max(1, round(high * scale))));
  const strong = character.filter(value => value > highest(character) / 4).sort(), rank = (strong.length - 1) * 0.9;
  const below = strong[Math.floor(rank)], above = strong[Math.ceil(rank)];
  const factor = Math.fround(255 / Math.fround(below + (above - below) * (rank % 1)));
  const levels = character.map(value => round(Math.min(255, Math.max(0, Math.fround(factor * value)))));
  let sum = 0, y = 0, x = 0;
  levels.forEach((level, i) => { sum += level, y += level * (i / length | 0), x += level * (i % length); });
  const place = (middle, side, room) => round(Math.min(Math.max(room / 2 - middle, 0), room - side));
  const down = place(y / sum, lines, height), right = place(x / sum, length, width);
  levels.forEach((level, i) => image[(down + (i / length | 0)) * width + right + i % length] = level);
  return image;
}

// ---- The paper. It is finer than the image, whose pixels are squares of fine × fine pixels of the paper.

const paper = $("paper"), brush = paper.getContext("2d", { willReadFrequently: true });
const fine = Math.max(1, Math.floor(280 / Math.max(height, width)));
const [ground, ink] = findBorder(run.images[1].picture) > 127 ? ["#fff", "#000"] : ["#000", "#fff"];
const pen = { x: width * fine / 2, y: height * fine / 2, isDown: false, erases: false };
const before = [];  // what undo restores: [pixels of the paper, number of the test image from which the drawing started]
let source = 0, drawing = null, isWaiting = false;  // drawing: the last one, as in before

function readPaper() {
  const pixels = brush.getImageData(0, 0, paper.width, paper.height).data;
  return { shape: [paper.height, paper.width], bytes: new Uint8Array(pixels.length / 4).map((_, i) => pixels[4 * i]) };
}

// Return the network's image, and a note on how the drawing was changed. What is drawn on a test image is not moved.
function readImage(picture) {
  const notes = [];
  if (source || !$("centred").checked) {
    const sums = new Float64Array(height * width);
    picture.bytes.forEach((value, i) => sums[(i / paper.width / fine | 0) * width + (i % paper.width / fine | 0)] += value);
    return [Uint8Array.from(sums, sum => round(sum / fine ** 2)), source ? "not moved" : `averaged over ${fine}×${fine} pixels`];
  }
  if (lowest(picture.bytes) === highest(picture.bytes)) return [new Uint8Array(height * width), "nothing to see: all pixels are equal"];
  notes.push(`scaled from ${paper.width}×${paper.height} and centred as MNIST's digits`);
  return [centreCharacter(picture, height, width, notes), notes.join(", ")];
}

// Answer what is on the paper.
function update() {
  const begin = performance.now(), [image, note] = readImage(readPaper());
  const isWhole = source && bytes(run.images[source].picture).every((value, i) => value === image[i]), number = isWhole ? source : 0;
  const found = Object.assign(run.images[number], answer({ shape: [height, width], bytes: image }));
  const decision = run.classes[found.decision] ?? "silent", peaks = peaksOf(found, "", run.steps - 1);
  if ($("decision").textContent !== decision) $("decision").textContent = decision;  // readers announce only changes
  $("label").textContent = number ? `label ${run.classes[found.label]}` : "";
  $("note").textContent = (number ? `test image ${found.index}` : note) + (listChanges().length ? "; the network is changed" : "");
  $("lead").textContent = describeLead(peaks) + (found.decision < 0 ? "" : " (of the potentials, not a probability)");
  $("seen").replaceChildren(paint(found.seen));
  $("votes").replaceChildren(tabulatePeaks(found, peaks));
  if (!number) {
    drawing = copyPaper();
    $("images").children[0].querySelector("canvas").replaceWith(paint(found.picture));
  }
  set({ image: number });
  $("took").textContent = `${(performance.now() - begin).toFixed(0)} ms`;
}

function later() {
  if (!isWaiting) requestAnimationFrame(() => { isWaiting = false; update(); });
  isWaiting = true;
}

// Put a test image on the paper; 0: nothing.
function start(number) {
  source = number;
  brush.fillStyle = ground;
  brush.fillRect(0, 0, paper.width, paper.height);
  brush.imageSmoothingEnabled = false;
  if (number) brush.drawImage(paint(run.images[number].picture), 0, 0, paper.width, paper.height);
  update();
}

const copyPaper = () => [brush.getImageData(0, 0, paper.width, paper.height), source];

function remember() {
  before.push(copyPaper());
  if (before.length > 30) before.shift();
}

function restore([pixels, number]) {
  source = number;
  brush.putImageData(pixels, 0, 0);
  update();
}

// Move the pen, and draw if it is down.
function move(x, y, draws) {
  Object.assign(brush, { lineCap: "round", lineWidth: $("width").value * fine / 10, strokeStyle: pen.erases ? ground : ink });
  brush.beginPath();
  brush.moveTo(draws ? pen.x : x, draws ? pen.y : y);
  Object.assign(pen, { x: Math.max(0, Math.min(paper.width - 1, x)), y: Math.max(0, Math.min(paper.height - 1, y)) });
  brush.lineTo(pen.x, pen.y);
  if (pen.isDown) brush.stroke(), later();
  $("tip").style.cssText = `left: ${100 * pen.x / paper.width}%; top: ${100 * pen.y / paper.height}%`;
  $("tip").className = pen.isDown ? "down" : "";
}

// ---- What can be changed: the thresholds of the stages that fire, how many time steps and which inputs remain, and noise on the network's image.

const sliders = [], listChanges = () => sliders.filter(({ value, original }) => value !== original);
function showChanges() {
  $("changed").hidden = !listChanges().length;
  $("changes").textContent = `The network is changed: ${listChanges().map(each => `${each.name} ${each.value} instead of ${each.original}`).join(", ")}. `
    + "The row of test images has the decisions of the unchanged network.";
}

function addSlider(name, original, end, change, step = end / 90) {
  const label = document.createElement("label"), input = document.createElement("input"), output = document.createElement("output");
  const slider = { name, original, set(value) {
    change(slider.value = output.textContent = value);
    showChanges();
    later();
  } };
  Object.assign(input, { type: "range", min: 0, max: end, step, value: original });
  input.oninput = () => slider.set(+(+input.value).toPrecision(3));
  slider.restore = () => slider.set(+(input.value = original));
  label.append(name, input, output);
  $("sliders").append(label);
  sliders.push(slider);
  output.textContent = slider.value = original;
}

// ---- Teaching: the user names the class of a drawing or, of R-STDP, answers whether the decision is right.

const deciding = run.stages.findIndex(({ name }) => name === decider.name), [part] = run.stages[deciding].parts;
const origin = { classes: run.classes.length, shape: decider.shape, whole: decider.whole.slice(), feature: run.features[part.label] };
const lessons = [], taught = { name: "taught drawings", value: 0, original: 0, restore: () => lessons.length && forget() };
let first = origin.whole, rehearsed = [], tested = [];  // first: the weights before anything was taught, also of new classes

// target: the class that is shown, { label }, or { name } if it is new; of R-STDP also the class that is not, { not }.
function teach(target) {
  const { inputs, decision } = run.images[at.image];
  if (decision < 0) return showLessons("The network is silent: no potential is above 0, so no neuron learns.");
  if (!tested.length) {
    [rehearsed, tested] = [exported.examples.rehearsed, exported.examples.tested].map(unpackLessons);
    tested.forEach(each => each.wasRight = isRight(each));
  }
  if (target.name) {
    target = { label: addClass(target.name) };
    const before = decider.whole.slice();
    before.set(first);
    first = before;
  }
  const lesson = makeLesson(inputs, target), isReward = exported.rule.margin === null;
  lesson.wasRight = isRight(lesson);
  lessons.push(lesson);
  const learned = practise(lessons, $("rehearse").checked ? rehearsed : []).pop(), feature = learned[0]?.[0][0] ?? -1;
  const times = learned.length === 1 ? "once" : `${learned.length} times`, name = run.classes[target.label], now = run.classes[decide(lesson)] ?? "silent";
  renew(decider.whole);
  update();
  if (feature >= 0) set({ stage: deciding, feature, place: [lesson.positions[feature] / decider.shape[2] | 0, lesson.positions[feature] % decider.shape[2]] });
  showLessons(isReward ? `${target.not === undefined ? "Rewarded" : "Punished"} ${times}. Its decision is now: ${now}.`
    : feature < 0 ? `${name} led by the margin: the drawing changed nothing.`
    : chooseLearners(lesson).length ? `Presented ${times}, but ${name} does not lead by the margin. Has a similar drawing another name?`
    : `${name} leads by the margin, after the drawing was presented ${times}.`);
}

function showLessons(text) {
  const isTaught = lessons.length > 0, nameOf = c => run.classes[c] ?? "silent";
  if (exported.rule.margin !== null && $("answers").children.length !== run.classes.length) buttons("answers", run.classes, label => teach({ label }));
  $("lesson").textContent = text;
  $("taught").hidden = !isTaught;
  $("lessons").textContent = `your drawings (${lessons.length})`;
  $("taught").querySelectorAll("td").forEach((cell, i) => cell.textContent = [lessons, tested][i >> 1].filter(each => i % 2 ? isRight(each) : each.wasRight).length);
  const lost = tested.filter(each => each.wasRight && !isRight(each)).map(each => `${nameOf(each.label)} → ${nameOf(decide(each))}`);
  $("lost").textContent = lost.length ? `Test images that are no longer right: ${lost.join(", ")}.` : "";
  $("look").hidden = !isTaught || !run.weights[part.label];
  taught.value = lessons.length;
  showChanges();
}

// Give the decision stage weights, and show them beside those before it was taught.
function renew(whole) {
  const [features] = decider.shape, weights = run.weights[part.label], isTaught = lessons.length > 0;
  arrange(decider, whole);
  part.count = features;
  run.features[part.label] = isTaught ? undefined : origin.feature;
  if (weights) Object.assign(weights, { shape: [features, ...weights.shape.slice(1)], floats: whole, before: isTaught && first });
}

function forget() {
  decider.shape = origin.shape;
  run.classes.length = origin.classes;
  lessons.length = tested.length = changed.length = 0;
  first = origin.whole;
  renew(origin.whole.slice());
  update();
  showLessons("Forgotten: the network is as it was.");
}

const point = event => [event.offsetX * paper.width / paper.clientWidth, event.offsetY * paper.height / paper.clientHeight];
paper.onpointerdown = event => {
  if (!event.isPrimary || event.button) return;
  remember();
  paper.setPointerCapture(event.pointerId);
  pen.isDown = true;
  move(...point(event), false);
};
paper.onpointermove = event => {
  if (event.isPrimary && pen.isDown && event.buttons) event.getCoalescedEvents().forEach(each => move(...point(each), true));
};
paper.onpointerup = paper.onpointercancel = () => { pen.isDown = false; };
paper.onkeydown = event => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key] ?? [];
  if (x === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();  // the same keys change the time step and the feature
  if (event.key === " " && (pen.isDown = !pen.isDown)) remember();
  move(pen.x + x * fine, pen.y + y * fine, true);
  $("pen-state").textContent = `pen ${pen.isDown ? "down" : "up"}, column ${pen.x / fine | 0}, row ${pen.y / fine | 0}`;
};
paper.onblur = () => { pen.isDown = false; };
$("clear").onclick = () => { remember(); start(0); };
$("undo").onclick = () => { if (before.length) restore(before.pop()); };
$("eraser").onclick = () => $("eraser").setAttribute("aria-pressed", pen.erases = !pen.erases);
$("centred").onchange = update;
for (const layer of layers) {
  const { threshold } = run.stages.find(({ name }) => name === layer.name).parts[0];
  if (layer.kind === "SpikingConv" && !layer.decides) addSlider(`threshold of ${layer.name}`, threshold, 3 * threshold || 30, value => setThreshold(layer, value));
}
const { name: lowestName, whole: original } = layers[0];
if (run.weights[layers[0].label]) addSlider(`shuffled weights of ${lowestName}`, 0, 1, value => shuffle(layers[0], original, value));
addSlider("time steps", run.steps, run.steps, value => steps = value, 1);
addSlider("silent inputs", 0, 0.9, value => silenced = value);
addSlider("noise", 0, 0.9, value => noise = value);
if (exported.rule) {
  const name = $("name"), add = () => {
    const text = name.value.trim(), label = run.classes.indexOf(text);
    name.value = "";
    if (text) teach(label < 0 ? { name: text } : { label });
  };
  sliders.push(taught);
  if (exported.rule.margin === null) buttons("answers", ["right", "wrong"], i => teach({ [i ? "not" : "label"]: run.images[at.image].decision }));
  showLessons("");
  $("forget").onclick = forget;
  $("add").onclick = add;
  name.onkeydown = event => { if (event.key === "Enter") add(); };
}
$("original").onclick = () => sliders.forEach(slider => slider.restore());
listImages();
[...$("images").children].forEach((button, number) => button.onclick = () => { remember(), number ? start(number) : restore(drawing); });
Object.assign(paper, { width: width * fine, height: height * fine });
start(0);
