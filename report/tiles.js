"use strict";
const run = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const unpack = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const cache = new Map();
const bytes = packed => {
  const content = packed.floats ?? packed.bytes ?? packed;
  if (typeof content !== "string") return content;
  if (!cache.has(content)) cache.set(content, packed.floats ? new Float32Array(unpack(content).buffer) : unpack(content));
  return cache.get(content);
};
const rgb = name => {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
  return [...(hex.length === 3 ? [...hex].map(d => d + d) : hex.match(/../g))].map(d => parseInt(d, 16));
};
const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
const mix = (a, b, amount) => a.map((v, i) => v + (b[i] - v) * amount);
const highest = values => values.reduce((a, b) => Math.max(a, b));
const lowest = values => values.reduce((a, b) => Math.min(a, b));
const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

// Tiles of rows × columns pixels side by side; colour(tile, row, column) is [r, g, b]. Where a click goes is kept with it.
function draw(canvas, { count, rows, columns, across, colour, chosen = -1, labels = [], gap = 2, most = Infinity, frames = false, box }) {
  const wide = canvas.clientWidth, dense = window.devicePixelRatio || 1;
  const gutter = labels.length ? Math.min(wide / 4, 10 + 7.5 * Math.max(...labels.map(l => l.length))) : 1;
  const pitch = Math.min((wide - gutter - 1) / across, most), tile = pitch - gap, high = tile * rows / columns;
  const lines = Math.ceil(count / across);
  canvas.style.height = `${lines * (high + gap) + gap}px`;
  canvas.width = wide * dense;
  canvas.height = (lines * (high + gap) + gap) * dense;
  const small = document.createElement("canvas");
  small.width = across * columns;
  small.height = lines * rows;
  const pixels = small.getContext("2d").createImageData(small.width, small.height);
  for (let t = 0; t < count; t++)
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const place = 4 * (((t / across | 0) * rows + y) * small.width + t % across * columns + x);
        const [r, g, b] = colour(t, y, x);
        pixels.data[place] = r, pixels.data[place + 1] = g, pixels.data[place + 2] = b, pixels.data[place + 3] = 255;
      }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const brush = canvas.getContext("2d");
  brush.scale(dense, dense);
  brush.imageSmoothingEnabled = false;
  for (let t = 0; t < count; t++) {
    const column = t % across, line = t / across | 0;
    const x = gutter + column * pitch, y = gap / 2 + line * (high + gap);
    brush.drawImage(small, column * columns, line * rows, columns, rows, x, y, tile, high);
    if (t === chosen || frames) {
      brush.strokeStyle = `rgb(${rgb(t === chosen ? "--mark" : "--line")})`;
      brush.lineWidth = 2;
      brush.strokeRect(x - 1, y - 1, tile + 2, high + 2);
    }
  }
  if (box) {  // rows and columns of the first tile: top, left, bottom, right
    const [top, left, bottom, right] = box.map((end, i) => Math.max(0, Math.min(end, (i % 2 ? columns : rows) - 1))), [wide, tall] = [tile / columns, high / rows];
    brush.strokeStyle = `rgb(${rgb("--mark")})`;
    brush.lineWidth = 2;
    brush.strokeRect(gutter + left * wide, gap / 2 + top * tall, (right - left + 1) * wide, (bottom - top + 1) * tall);
  }
  brush.fillStyle = `rgb(${rgb("--soft")})`;
  brush.font = "12px system-ui, sans-serif";
  brush.textBaseline = "middle";
  labels.forEach((label, line) => brush.fillText(label, 0, gap / 2 + line * (high + gap) + high / 2, Math.max(1, gutter - 6)));
  canvas.hit = event => {
    const frame = canvas.getBoundingClientRect();
    const right = (event.clientX - frame.left - gutter) / pitch, down = (event.clientY - frame.top) / (high + gap);
    const column = Math.floor(right), line = Math.floor(down);
    canvas.place = [(down - line) * rows | 0, (right - column) * columns | 0];
    const found = line * across + column;
    return column >= 0 && column < across && found < count ? found : -1;
  };
}

function press(group, chosen) {
  [...$(group).children].forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
}

function buttons(group, names, choose) {
  $(group).replaceChildren(...names.map((name, i) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.onclick = () => choose(i);
    return button;
  }));
}
