const at = { image: 0, stage: 1, part: 0, feature: 0, place: [0, 0], step: run.steps - 1 };
const format = potential => Number.isInteger(potential) ? potential.toLocaleString("en") : (+potential.toPrecision(4)).toLocaleString("en");

const isPaired = run.inputs.every(channels => channels.length === 2);  // a scale has an on- and an off-centre channel
// How far each channel of the input sees beyond its pixel: half of the window that the name of its scale states.
const reaches = run.inputs.flatMap((group, i) => group.map(() => (/(\d+)×\1$/.exec(run.scales[i])?.[1] ?? 1) >> 1));
const keyOf = (stage, part) => part.label.slice(stage.name.length);  // of a branch
// Of a decision stage, the potentials at the end; if the page has them (draw.js), those after the chosen time step.
const potentialsOf = (image, stage, part) => stage.decides && (image.after?.[at.step] ?? image.potentials)[keyOf(stage, part)];

// The highest potential of each class after a time step.
const peaksOf = (image, key, step) => bytes(image.race[key]).slice(step * run.classes.length, (step + 1) * run.classes.length);

// By how much the best class leads, as a text: (best - second) / best.
function describeLead(peaks) {
  const [best, second] = [...peaks].sort((a, b) => b - a);
  return best > 0 ? `class ${run.classes[peaks.indexOf(best)]} leads by ${(100 * (best - second) / best).toFixed(1)} %` : "no potential is above 0";
}

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
  const perClass = part.count / run.classes.length, peaks = potentials && peaksOf(image, keyOf(stage, part), at.step);
  const inPairs = isPaired && stage.name === "input";
  const across = potentials ? perClass : inPairs ? 2 : Math.ceil(Math.sqrt(1.3 * part.count * part.rows / part.columns));
  const labels = potentials ? run.classes : inPairs ? run.inputs.map(pair => pair.map(([channel]) => run.channels[channel]).join(", ")) : [];

  const counts = Array(run.steps + 1).fill(0);
  if (!potentials)
    for (let f = 0; f < part.count; f++)
      for (let y = 0; y < part.rows; y++)
        for (let x = 0; x < part.columns; x++) counts[value(f, y, x)]++;
  const race = counts.slice(0, -1).map((_, step) => potentials && peaksOf(image, keyOf(stage, part), step));
  const heights = potentials ? race.map(highest) : counts.slice(0, -1), most = Math.max(potentials ? 0 : 1, ...heights) || 1;
  $("bars").replaceChildren(...heights.map((n, step) => {
    const bar = document.createElement("span");
    bar.style.cssText = `height: ${100 * n / most}%; background: rgb(${palette[step]})`;
    bar.className = step > at.step ? "later" : "";
    bar.title = `time step ${step}: ${potentials ? describeLead(race[step]) : plural(n, "spike")}`;
    bar.onclick = () => set({ step });
    return bar;
  }));
  const all = part.count * part.rows * part.columns, spiked = counts.slice(0, at.step + 1).reduce((a, b) => a + b, 0);
  const said = image.decision === -2 ? "" : `, decision ${run.classes[image.decision] ?? "silent"}`;
  const which = "index" in image ? `Image ${image.index}, label ${run.classes[image.label]}` : "Your drawing";
  const atEnd = potentials && bytes(image.potentials[keyOf(stage, part)]), best = potentials ? strongest(atEnd, part) : -1;
  $("what").textContent = `${stage.name}${part.label && part.label !== stage.name ? ` (${part.label})` : ""}: `
    + `${part.count} × ${part.rows}×${part.columns} neurons, ${stage.what}`;
  $("now").textContent = `${which}${said}. Up to time step ${at.step}: ` + (potentials
    ? `${describeLead(peaks)}.` + (highest(atEnd) > 0 ? ` At the end, a neuron of feature ${best}, of class ${run.classes[best / perClass | 0]}, has the highest potential${
      stage.parts.length > 1 ? ": so this branch votes" : " and decides"}.` : "")
    : `${spiked.toLocaleString("en")} of ${plural(all, "neuron")} (${(100 * spiked / all).toFixed(1)} %) have spiked, ${plural(counts[at.step], "neuron")} in this step.`);
  draw($("all"), { count: part.count, rows: part.rows, columns: part.columns, across, colour, chosen: at.feature,
                   gap: part.count > 60 ? 2 : 4, labels, most: inPairs ? 190 : potentials ? 60 : Infinity });

  const f = at.feature;
  $("one-title").textContent = stage.name === "input" ? run.channels[f] : potentials ? `feature ${f}, class ${run.classes[f / perClass | 0]}` : `feature ${part.first + f}`;
  draw($("one"), { count: 1, rows: part.rows, columns: part.columns, across: 1, gap: 0, most: 260,
                   colour: (_, y, x) => colour(f, y, x), box: [...at.place, ...at.place] });
  const times = [];
  for (let y = 0; y < part.rows; y++) for (let x = 0; x < part.columns; x++) times.push(value(f, y, x));
  const fired = times.filter(t => t < run.steps);
  $("one-text").textContent = potentials
    ? `potentials ${image.after ? `after time step ${at.step}` : "at the end"}, ${format(Math.min(...times))} to ${format(Math.max(...times))}; colours: their third power`
    : `${fired.filter(t => t <= at.step).length} of ${plural(times.length, "neuron")} so far`
      + (fired.length ? `; first spike at ${Math.min(...fired)}` : "; silent for this image");
  const isOther = potentials && !image.after && at.step < run.steps - 1;  // the maps are not those of this step
  for (const id of ["all", "one"]) $(id).style.opacity = isOther ? 0.4 : 1;
  if (isOther) $("now").textContent += " The maps contain the potentials at the end.";
  showFeature(part, f);
  showNeuron(image, stage, part, f, value(f, ...at.place));
  showPeaks(image, peaks);
  press("images", at.image);
  press("stages", at.stage);
  press("branches", at.part);
  $("step").value = at.step;
}

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

// The place of the first spike of the chosen feature, or of its highest potential.
function findPlace(stage, part) {
  const [height, width] = stage.size, image = run.images[at.image], potentials = potentialsOf(image, stage, part);
  let best = Infinity, place = [0, 0];
  for (let y = 0; y < part.rows; y++)
    for (let x = 0; x < part.columns; x++) {
      const value = potentials ? -bytes(potentials)[(at.feature * part.rows + y) * part.columns + x]
        : bytes(image.maps[stage.name])[((part.first + at.feature) * height + part.top + y) * width + part.left + x];
      if (value < best) best = value, place = [y, x];
    }
  return place;
}

function showFeature(part, f) {
  const picture = part.kernel ? run.features[part.label] : null;
  $("prefers").hidden = !picture;
  if (!picture) return;
  const [, rows, columns, colours = 1] = picture.shape, size = rows * columns * colours;
  const all = bytes(picture), values = all.subarray(f * size, (f + 1) * size);
  const strengths = Array.from({ length: all.length / size }, (_, i) => highest(all.subarray(i * size, (i + 1) * size).map(v => Math.abs(v - 128))));
  const most = Math.max(64, strengths.sort((a, b) => a - b)[0.75 * (strengths.length - 1) | 0]);  // one scale, as in sheets.py: weak features are faint
  draw($("feature"), { count: 1, rows, columns, across: 1, gap: 4, most: 260, frames: true,
                       colour: (_, y, x) => [0, 1, 2].map(c => 128 + 127 * (values[(y * columns + x) * colours + c % colours] - 128) / most) });
}

// Why a neuron spikes: its field in the image, its potential, the times of its inputs, its weights, and what it would learn.
// value: the time step of its spike, of a decision neuron its potential at the end.
function showNeuron(image, stage, part, f, value) {
  const [row, column] = at.place, packed = part.kernel && run.weights[part.label], below = run.stages[findBelow(stage)];
  const isSpiking = !stage.decides && value < run.steps;
  $("place").textContent = `neuron in row ${row}, column ${column}` + (stage.decides ? "" : isSpiking ? `: spikes at time step ${value}` : ": silent");
  const reach = below ? 0 : reaches[f], furthest = highest(reaches), sees = place => see(stage, part, place - reach, place + reach);
  showField(image.seen ?? image.picture, sees(row), sees(column));
  $("field-text").textContent = below && furthest ? `The filters of the input see up to ${plural(furthest, "pixel")} further.` : "";
  $("synapses").hidden = !packed;
  $("potential").hidden = !packed;
  $("weights-text").textContent = part.kernel && !packed ? "Its weights are left out of this page."
    : !part.kernel && below ? `It is ${stage.what} of feature ${part.first + f} of ${below.name}.` : "";
  if (!packed) return;
  const [, channels, k] = packed.shape, size = channels * k * k, weights = bytes(packed).subarray(f * size, (f + 1) * size);
  const unit = packed.unit ?? 1, toFloat = w => packed.floats ? w * unit : packed.low + (packed.high - packed.low) * w / 255;
  const times = findInputs(image.maps, stage, part, row, column), palette = isDark() ? run.times_in_the_dark : run.times;
  if (packed.floats) showPotential(stage, part, times, weights, unit, isSpiking ? value : -1);
  else showPotential(stage, part, times, Float64Array.from(weights, toFloat), 1, -1);

  const fromEncoder = stage.inputs.join() === "input", signs = run.inputs.flat().map(([, sign]) => sign);
  const paper = rgb("--paper"), ink = rgb("--ink"), tile = rgb("--tile");
  const [low, high] = stage.decides ? [lowest(weights), highest(weights)] : packed.floats ? [packed.low / unit, packed.high / unit] : [0, 255];
  const inPairs = fromEncoder && isPaired, [width, labels] = inPairs ? [2, run.scales] : [Math.ceil(Math.sqrt(1.5 * channels)), []];
  const show = (id, colour) => draw($(id), { count: channels, rows: k, columns: k, across: width, labels, most: 90,
    gap: fromEncoder ? 6 : 2, frames: fromEncoder, colour: (c, y, x) => colour((c * k + y) * k + x, c) });
  show("times", i => times[i] <= at.step && times[i] < run.steps ? palette[times[i]] : tile);
  show("weights", (i, c) => mix(mix(paper, ink, 0.06), fromEncoder && run.polar ? run.tints[signs[c]] : ink, (weights[i] - low) / (high - low || 1)));
  const shown = w => toFloat(w).toFixed(2), rounded = packed.floats || !potentialsOf(image, stage, part) ? "" : ` On this page they have 8 bits: with those of the network, its potential is ${format(value)} at the end.`;
  $("weights-text").textContent = (fromEncoder ? `A square for each channel of the input${inPairs ? ": a row for each scale, left on-centre, right off-centre" : ""}. `
    : `A square for each feature of ${below.name}. `) + `Weights: faint ${shown(low)}, strong ${shown(high)}.${rounded}${leadsTo(stage) > 0 ? " Click one to see its feature." : ""}`;
  for (const id of ["weights", "times", "growth"]) $(id).classList.toggle("click", leadsTo(stage) > 0);
  const before = packed.before && packed.before.subarray(f * size, (f + 1) * size);  // it was taught (draw.js)
  const changes = before ? Array.from(weights, (w, i) => toFloat(w) - toFloat(before[i]))
    : isSpiking && part.learns && Array.from(weights, (w, i) => findChange(part, toFloat(w), part.learns[value][times[i]]));
  $("learns").hidden = !changes;
  if (!changes) return;
  const most = highest(changes.map(Math.abs)), few = 0.001 * (part.bounds ? part.bounds[1] - part.bounds[0] : packed.high - packed.low);
  const [all, green, orange] = before ? ["have changed", "have grown", "have shrunk"] : ["would change", "would grow", "would shrink"];
  $("learns-title").textContent = before ? "what it was taught" : "if it won";
  $("learns-text").textContent = most < few ? `Its weights ${all} by at most ${+most.toPrecision(2)}.`
    : `Green weights ${green}, orange ones ${orange}, by up to ${+most.toPrecision(2)}.`;
  show("growth", i => mix(paper, changes[i] < 0 ? [213, 94, 0] : [0, 158, 115], Math.abs(changes[i]) / Math.max(most, few)));
}

function showField(picture, [top, bottom], [left, right]) {
  const [rows, columns] = run.stages[0].size, [high, wide, colours = 1] = picture.shape, values = bytes(picture);
  draw($("field"), { count: 1, rows, columns, across: 1, gap: 0, most: 260, box: [top, left, bottom, right],
    colour: (_, y, x) => [0, 1, 2].map(c => values[((y * high / rows | 0) * wide + (x * wide / columns | 0)) * colours + c % colours]) });
}

// The potential over time, against the threshold; the sums of on- and off-centre inputs apart, if the stage reads both.
function showPotential(stage, part, times, weights, unit, spike) {
  const k = part.kernel, sum = only => Array.from(addUp(times.map((t, i) => only(i / k / k | 0) ? t : run.steps), weights, k), p => p * unit);
  const lines = [[sum(() => true), "var(--ink)", 2.5]];
  if (run.polar && stage.inputs.join() === "input")
    for (const sign of [1, -1]) lines.push([sum(c => run.inputs.flat()[c][1] === sign), `rgb(${run.tints[sign]})`, 1.5]);
  const [total] = lines[0], limit = part.threshold ?? 0, high = Math.max(limit, ...total) * 1.05 || 1, low = Math.min(0, ...lines.flatMap(([sums]) => sums));
  const x = t => 42 + 388 * t / run.steps, y = p => 158 - 148 * (p - low) / (high - low);
  const text = (at, to, anchor, content) => `<text x="${at}" y="${to}" text-anchor="${anchor}">${content}</text>`;
  const ticks = [0, part.threshold, Math.max(...total)].filter((p, i, all) => p != null && !all.slice(0, i).some(q => Math.abs(y(p) - y(q)) < 12));
  $("curve").innerHTML = `<path d="M${x(at.step + 0.5)} 4V157" style="stroke: var(--tile); stroke-width: ${388 / run.steps}"/><path d="M42 4V158H430"/>`
    + (part.threshold == null ? "" : `<path d="M42 ${y(limit)}H430" stroke-dasharray="5 4"/>`)
    + ticks.map(p => text(37, y(p) + 4, "end", format(p))).join("")
    + Array.from({ length: run.steps }, (_, t) => run.steps < 20 || t % 10 === 0 ? text(x(t + 0.5), 174, "middle", t) : "").join("")
    + text(236, 190, "middle", "time step")
    + lines.reverse().map(([sums, colour, width]) => `<path d="M42 ${y(0)}${sums.map((p, t) => `V${y(p)}H${x(t + 1)}`).join("")}" style="stroke: ${colour}; stroke-width: ${width}"/>`).join("")
    + (spike < 0 ? "" : `<circle cx="${x(spike)}" cy="${y(total[spike])}" r="5"/>`);
  const now = total[at.step];
  $("curve-text").textContent = `${format(now)} after time step ${at.step} (the band)${spike < 0 ? "" : "; dot: its spike"}${part.threshold == null ? "" : `; dashed: the threshold, ${format(limit)}`}`
    + (lines.length > 1 ? `; ${run.tint_names[1]}: on-centre inputs alone, ${run.tint_names[-1]}: off-centre` : "");
}

function showPeaks(image, peaks) {
  $("peaks").hidden = !peaks;
  if (!peaks) return;
  const isLast = at.step === run.steps - 1, leader = highest(peaks) > 0 ? peaks.indexOf(highest(peaks)) : -1;
  $("peaks").replaceChildren(Object.assign(document.createElement("h3"), { textContent: `highest potential of each class after time step ${at.step}` }),
                             tabulatePeaks(image, [...peaks], isLast ? undefined : [leader, "leads"]));
}

// marked: the class whose bar is marked, by default the decision, and the word beside it.
function tabulatePeaks(image, peaks, [marked, mark] = [image.decision, "decision"]) {
  const table = document.createElement("table");
  // the axis begins where differences can be seen, at a round number
  const low = Math.min(...peaks), high = Math.max(...peaks), unit = 10 ** Math.floor(Math.log10(high - low || Math.abs(high) || 1));
  const start = unit * Math.floor((low - (high - low) / 4) / unit), begin = low >= 0 ? Math.max(0, start) : start;
  const end = unit * (Math.floor(high / unit) + 1), digits = Math.min(9, Math.max(0, 1 - Math.round(Math.log10(unit))));
  peaks.forEach((peak, c) => {
    const row = table.insertRow();
    row.append(Object.assign(document.createElement("th"), { textContent: run.classes[c] }));
    row.insertCell().append(Object.assign(document.createElement("i"), {
      style: `width: ${100 * (peak - begin) / (end - begin)}%`, className: c === marked ? "decision" : "" }));
    row.insertCell().textContent = peak.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    row.insertCell().textContent = [c === image.label && "label", c === marked && mark].filter(Boolean).join(", ");
  });
  const axis = document.createElement("div"), last = table.insertRow();
  axis.append(...[begin, (begin + end) / 2, end].map(value => Object.assign(document.createElement("small"), { textContent: (+value.toPrecision(6)).toLocaleString("en") })));
  last.append(document.createElement("th"));
  last.insertCell().append(axis);
  if (begin) table.createCaption().textContent = `The bars begin at ${begin.toLocaleString("en")}, not at 0.`;
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
  if (!("feature" in change) && !("step" in change) && !("place" in change)) {
    const potentials = potentialsOf(run.images[at.image], run.stages[at.stage], parts[at.part]);
    at.feature = potentials ? strongest(bytes(potentials), parts[at.part]) : findSpiking(parts[at.part], Math.min(at.feature, count - 1));
  }
  at.feature = (at.feature + count) % count;
  if (!("place" in change) && !("step" in change)) at.place = findPlace(run.stages[at.stage], parts[at.part]);
  if (at.stage !== stage || !$("branches").children.length) {
    $("branches").hidden = parts.length < 2;
    buttons("branches", parts.map(p => p.label), part => set({ part }));
  }
  show();
}

// Go to a feature of a stage, by its number among all branches, and offer the way back.
function go(stage, feature) {
  const part = run.stages[stage].parts.findIndex(p => feature >= p.first && feature < p.first + p.count);
  if (part < 0) return;
  const { step, image, ...from } = at, back = $("back");
  back.textContent = `← back to ${run.stages[at.stage].name}, ${$("one-title").textContent}`;
  back.hidden = false;
  back.onclick = () => { back.hidden = true; set(from); };
  set({ stage, part, feature: feature - run.stages[stage].parts[part].first });
}

let playing = null;
function play() {
  clearInterval(playing);
  playing = playing ? null : setInterval(() => at.step < run.steps - 1 ? set({ step: at.step + 1 }) : play(), 350);
  if (playing && at.step === run.steps - 1) set({ step: 0 });
  $("play").textContent = playing ? "❚❚" : "▶";
}

buttons("stages", run.stages.map(s => s.name), stage => { $("back").hidden = true; set({ stage }); });
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
$("one").onclick = event => { if ($("one").hit(event) >= 0) set({ place: $("one").place }); };
$("one").onkeydown = event => {
  const { rows, columns } = run.stages[at.stage].parts[at.part], [row, column] = at.place;
  const place = { ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column] }[event.key];
  if (!place || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();  // elsewhere, these keys change the time step and the feature
  set({ place: [(place[0] + rows) % rows, (place[1] + columns) % columns] });
};
// The stage whose features are the squares of a neuron's weights; 0 or less: none.
const leadsTo = stage => stage.inputs.length === 1 ? findBelow(stage) : -1;
for (const id of ["weights", "times", "growth"]) $(id).onclick = event => {
  const c = $(id).hit(event), below = leadsTo(run.stages[at.stage]);
  if (c >= 0 && below > 0) go(below, c);
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
