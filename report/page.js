const at = { image: 0, stage: 1, part: 0, feature: 0, step: run.steps - 1 };
const format = potential => Number.isInteger(potential) ? potential.toLocaleString("en") : (+potential.toPrecision(4)).toLocaleString("en");

const potentialsOf = (image, stage, part) => stage.decides && image.potentials["potentials" + part.label.slice(stage.name.length)];

function show() {
  const image = run.images[at.image], stage = run.stages[at.stage], part = stage.parts[at.part];
  const [height, width] = stage.size, tile = rgb("--tile");
  const palette = isDark() ? run.times_in_the_dark : run.times;
  const potentials = potentialsOf(image, stage, part);
  const values = bytes(potentials || image.maps[stage.name]);
  const value = potentials
    ? (f, y, x) => values[(f * part.rows + y) * part.columns + x]
    : (f, y, x) => values[((part.first + f) * height + part.top + y) * width + part.left + x];
  const low = potentials && lowest(values), range = potentials && highest(values) - low || 1;
  const level = v => run.potentials[63 * ((v - low) / range) ** 3 | 0];
  const colour = potentials
    ? (f, y, x) => level(value(f, y, x))
    : (f, y, x) => { const t = value(f, y, x); return t <= at.step && t < run.steps ? palette[t] : tile; };
  const perClass = part.count / run.classes.length;
  const across = potentials ? perClass : Math.ceil(Math.sqrt(1.3 * part.count * part.rows / part.columns));

  const counts = Array(run.steps + 1).fill(0);
  if (!potentials)
    for (let f = 0; f < part.count; f++)
      for (let y = 0; y < part.rows; y++)
        for (let x = 0; x < part.columns; x++) counts[value(f, y, x)]++;
  const most = Math.max(1, ...counts.slice(0, -1));
  $("time").hidden = !!potentials;
  $("bars").replaceChildren(...counts.slice(0, -1).map((n, step) => {
    const bar = document.createElement("span");
    bar.style.cssText = `height: ${100 * n / most}%; background: rgb(${palette[step]})`;
    bar.className = step > at.step ? "later" : "";
    bar.title = `time step ${step}: ${plural(n, "spike")}`;
    bar.onclick = () => set({ step });
    return bar;
  }));
  const all = part.count * part.rows * part.columns, spiked = counts.slice(0, at.step + 1).reduce((a, b) => a + b, 0);
  const said = image.decision === -2 ? "" : `, decision ${run.classes[image.decision] ?? "silent"}`;
  const which = "index" in image ? `Image ${image.index}, label ${run.classes[image.label]}` : "Your drawing";
  const best = potentials ? strongest(values, part) : -1;
  $("what").textContent = `${stage.name}${part.label && part.label !== stage.name ? ` (${part.label})` : ""}: `
    + `${part.count} × ${part.rows}×${part.columns} neurons, ${stage.what}`;
  $("now").textContent = `${which}${said}. ` + (potentials && highest(values) <= 0 ? "No potential is above 0." : potentials
    ? `A neuron of feature ${best}, of class ${run.classes[best / perClass | 0]}, has the highest potential${stage.parts.length > 1 ? ": so this branch votes" : " and decides"}.`
    : `Up to time step ${at.step}: ${spiked.toLocaleString("en")} of ${plural(all, "neuron")} (${(100 * spiked / all).toFixed(1)} %) have spiked, ${plural(counts[at.step], "neuron")} in this step.`);
  draw($("all"), { count: part.count, rows: part.rows, columns: part.columns, across, colour, chosen: at.feature,
                   gap: part.count > 60 ? 2 : 4, labels: potentials ? run.classes : [] });

  const f = at.feature, name = part.first + f;
  $("one-title").textContent = potentials ? `neuron ${f}, class ${run.classes[f / perClass | 0]}` : stage.name === "input" ? run.channels[f] : `feature ${name}`;
  draw($("one"), { count: 1, rows: part.rows, columns: part.columns, across: 1, gap: 0, most: 260,
                   colour: (_, y, x) => colour(f, y, x) });
  const times = [];
  for (let y = 0; y < part.rows; y++) for (let x = 0; x < part.columns; x++) times.push(value(f, y, x));
  const fired = times.filter(t => t < run.steps);
  $("one-text").textContent = potentials
    ? `potentials from ${format(Math.min(...times))} to ${format(Math.max(...times))}`
    : `${fired.filter(t => t <= at.step).length} of ${plural(times.length, "neuron")} so far`
      + (fired.length ? `; first spike at ${Math.min(...fired)}` : "; silent for this image");
  showFeature(part, f);
  showWeights(stage, part, f);
  showPeaks(potentials, values, part, perClass);
  press("images", at.image);
  press("stages", at.stage);
  press("branches", at.part);
  $("step").value = at.step;
}

const findBelow = stage => run.stages.findIndex(({ name }) => name === stage.inputs[0]);
const highest = values => values.reduce((a, b) => Math.max(a, b));
const lowest = values => values.reduce((a, b) => Math.min(a, b));
const strongest = (values, part) => values.indexOf(highest(values)) / (part.rows * part.columns) | 0;

// The feature, or the next one of the part that spikes for the image.
function findSpiking(part, feature) {
  const stage = run.stages[at.stage], [height, width] = stage.size;
  const values = bytes(run.images[at.image].maps[stage.name]);
  const spikes = f => values.subarray((part.first + f) * height * width, (part.first + f + 1) * height * width).some(t => t < run.steps);
  for (let i = 0; i < part.count; i++)
    if (spikes((feature + i) % part.count)) return (feature + i) % part.count;
  return feature;
}

function showFeature(part, f) {
  const picture = part.kernel ? run.features[part.label] : null;
  $("prefers").hidden = !picture;
  if (!picture) return;
  const [, rows, columns, colours = 1] = picture.shape, size = rows * columns * colours;
  const values = bytes(picture).subarray(f * size, (f + 1) * size);
  const most = Math.max(1, ...values.map(v => Math.abs(v - 128)));
  draw($("feature"), { count: 1, rows, columns, across: 1, gap: 4, most: 260, frames: true,
                       colour: (_, y, x) => [0, 1, 2].map(c => 128 + 127 * (values[(y * columns + x) * colours + c % colours] - 128) / most) });
}

// The synapses of a neuron, a small square for each input channel (or scale, where the input is the encoder's).
function showWeights(stage, part, f) {
  const packed = part.kernel ? run.weights[part.label] : null, below = run.stages[findBelow(stage)];
  $("weights").hidden = !packed;
  $("weights-title").textContent = packed ? "its weights" : "";
  $("weights-text").textContent = part.kernel && !packed ? "Its weights are left out of this page."
    : !part.kernel && below ? `It is ${stage.what} of feature ${part.first + f} of ${below.name}.` : "";
  if (!packed) return;
  const [, channels, k] = packed.shape, first = f * channels * k * k;
  const own = Float32Array.from(bytes(packed).subarray(first, first + channels * k * k),
    packed.floats ? w => w : level => packed.low + (packed.high - packed.low) * level / 255);
  const weight = (c, y, x) => own[(c * k + y) * k + x];
  const grey = stage.decides ? [lowest(own), highest(own)] : [packed.low, packed.high];
  const fromEncoder = stage.inputs.join() === "input", white = [255, 255, 255], paper = rgb("--paper"), ink = rgb("--ink");
  if (fromEncoder) {
    draw($("weights"), { count: run.inputs.length, rows: k, columns: k, across: Math.min(run.inputs.length, 4),
      gap: 8, most: 110, frames: true,
      colour: (s, y, x) => run.inputs[s].reduce(
        (c, [channel, sign]) => c.map((v, i) => Math.max(0, v - (255 - run.tints[sign][i]) * weight(channel, y, x) / packed.high)), white) });
    const names = ` (${run.scales.join(", ")})`;
    $("weights-text").textContent = run.polar
      ? `A square for each scale of the input${names}; ${run.tint_names[1]}: strong weights of on-centre inputs, ${run.tint_names[-1]}: of off-centre inputs, dark: of both.`
      : `A square for each channel of the input${names}; dark: strong weights.`;
  } else {
    draw($("weights"), {
      count: channels, rows: k, columns: k, across: Math.ceil(Math.sqrt(1.5 * channels)),
      colour: (c, y, x) => mix(mix(paper, ink, 0.06), ink,
        (weight(c, y, x) - grey[0]) / (grey[1] - grey[0] || 1)) });
    const known = stage.inputs.length === 1;
    $("weights-text").textContent = `A square for each of the ${channels} ${known ? `features of ${below.name}` : "input channels"}; strong synapses ${
      isDark() ? "light" : "dark"}${
      stage.decides ? `, from ${grey[0].toFixed(2)} to ${grey[1].toFixed(2)}` : ""}.${known ? " Click a square to see its feature." : ""}`;
  }
}

function showPeaks(potentials, values, part, perClass) {
  $("peaks").hidden = !potentials;
  if (potentials)
    $("peaks").replaceChildren(Object.assign(document.createElement("h3"), { textContent: "highest potential of each class" }),
                               tabulatePeaks(run.images[at.image], values, part.rows * part.columns * perClass));
}

function tabulatePeaks(image, values, each) {
  const peaks = run.classes.map((_, c) => highest(values.subarray(c * each, (c + 1) * each)));
  const table = document.createElement("table");
  // the axis begins where differences can be seen, at a round number
  const low = Math.min(...peaks), high = Math.max(...peaks), unit = 10 ** Math.floor(Math.log10(high - low || Math.abs(high) || 1));
  const start = unit * Math.floor((low - (high - low) / 4) / unit), begin = low >= 0 ? Math.max(0, start) : start;
  const end = unit * (Math.floor(high / unit) + 1), digits = Math.min(9, Math.max(0, 1 - Math.round(Math.log10(unit))));
  peaks.forEach((peak, c) => {
    const row = table.insertRow();
    row.append(Object.assign(document.createElement("th"), { textContent: run.classes[c] }));
    row.insertCell().append(Object.assign(document.createElement("i"), {
      style: `width: ${100 * (peak - begin) / (end - begin)}%`, className: c === image.decision ? "decision" : "" }));
    row.insertCell().textContent = peak.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    row.insertCell().textContent = [c === image.label && "label", c === image.decision && "decision"].filter(Boolean).join(", ");
  });
  const axis = document.createElement("div"), last = table.insertRow();
  axis.append(...[begin, (begin + end) / 2, end].map(value => Object.assign(document.createElement("small"), { textContent: (+value.toPrecision(6)).toLocaleString("en") })));
  last.append(document.createElement("th"));
  last.insertCell().append(axis);
  return table;
}

// A picture as a canvas of its size.
function paint({ shape: [rows, columns, colours = 1], bytes: content }) {
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pixels = canvas.getContext("2d").createImageData(columns, rows), values = bytes(content);
  for (let p = 0; p < rows * columns; p++) {
    pixels.data.set([0, 1, 2].map(c => values[p * colours + c % colours]), 4 * p);
    pixels.data[4 * p + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function set(change) {
  const stage = at.stage;
  Object.assign(at, change);
  at.step = Math.max(0, Math.min(run.steps - 1, at.step));
  if (at.stage !== stage && !("part" in change)) at.part = 0;
  const parts = run.stages[at.stage].parts, count = parts[at.part].count;
  if (!("feature" in change) && !("step" in change)) {
    const potentials = potentialsOf(run.images[at.image], run.stages[at.stage], parts[at.part]);
    at.feature = potentials ? strongest(bytes(potentials), parts[at.part]) : findSpiking(parts[at.part], Math.min(at.feature, count - 1));
  }
  at.feature = (at.feature + count) % count;
  if (at.stage !== stage || !$("branches").children.length) {
    $("branches").hidden = parts.length < 2;
    buttons("branches", parts.map(p => p.label), part => set({ part }));
  }
  show();
}

// A feature of a stage by its number among all branches.
function go(stage, feature) {
  const part = run.stages[stage].parts.findIndex(p => feature >= p.first && feature < p.first + p.count);
  if (part >= 0) set({ stage, part, feature: feature - run.stages[stage].parts[part].first });
}

let playing = null;
function play() {
  clearInterval(playing);
  playing = playing ? null : setInterval(() => at.step < run.steps - 1 ? set({ step: at.step + 1 }) : play(), 350);
  if (playing && at.step === run.steps - 1) set({ step: 0 });
  $("play").textContent = playing ? "❚❚" : "▶";
}

buttons("stages", run.stages.map(s => s.name), stage => set({ stage }));
// The buttons of the images.
const nameLabel = image => "index" in image ? run.classes[image.label] : "drawing";
function listImages() {
  buttons("images", run.images.map(nameLabel), image => set({ image }));
  run.images.forEach((image, i) => {
    const button = $("images").children[i], decided = run.classes[image.decision] ?? "silent";
    const wrong = "index" in image && image.decision !== -2 && image.decision !== image.label;
    if ("index" in image) button.title = `image ${image.index}, label ${nameLabel(image)}${wrong ? `, decision ${decided}` : ""}`;
    button.replaceChildren(Object.assign(document.createElement("small"), { textContent: nameLabel(image) + (wrong ? ` → ${decided}` : "") }));
    if (image.picture) button.prepend(paint(image.picture));
  });
}

$("step").oninput = event => set({ step: +event.target.value });
$("play").onclick = play;
$("all").onclick = event => { const f = $("all").hit(event); if (f >= 0) set({ feature: f }); };
$("weights").onclick = event => {
  const c = $("weights").hit(event), stage = run.stages[at.stage], below = findBelow(stage);
  if (c >= 0 && below > 0 && stage.inputs.length === 1) go(below, c);
};
addEventListener("keydown", event => {
  const move = { ArrowLeft: { step: at.step - 1 }, ArrowRight: { step: at.step + 1 },
                 ArrowUp: { feature: at.feature - 1 }, ArrowDown: { feature: at.feature + 1 } }[event.key];
  const box = $("maps").getBoundingClientRect(), inside = $("maps").contains(document.activeElement);
  const elsewhere = !inside && document.activeElement.matches("input"), hidden = box.bottom < 80 || box.top > innerHeight - 80;
  const away = move && "feature" in move ? !inside : elsewhere || hidden;
  if (!move || away || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  set(move);
});
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
