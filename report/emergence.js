// The features of a layer at the moments of its first epoch, beside those at the end.
const grown = { layer: 0, moment: 0 };

function showEmergence() {
  const { images, shape: [, count, rows, columns, colours], bytes: packed } = Object.values(run.emergence)[grown.layer];
  const values = bytes(packed), last = images.length;
  grown.moment = Math.max(0, Math.min(last, grown.moment));
  const drawAt = (canvas, moment) => draw(canvas, { count, rows, columns, across: Math.ceil(Math.sqrt(1.2 * count)), gap: 4, frames: true,
    colour: (f, y, x) => [0, 1, 2].map(c => values[(((moment * count + f) * rows + y) * columns + x) * colours + c % colours]) });
  drawAt($("then"), grown.moment);
  drawAt($("end"), last);
  $("moment").max = last;
  $("moment").value = grown.moment;
  $("then-title").textContent = grown.moment < last ? `after ${plural(images[grown.moment], "image")}` : "at the end";
  press("emerging", grown.layer);
}

function setEmergence(change) {
  Object.assign(grown, change);
  showEmergence();
}

let growing = null;
function grow() {
  clearInterval(growing);
  const last = +$("moment").max;
  growing = growing ? null : setInterval(() => grown.moment < last ? setEmergence({ moment: grown.moment + 1 }) : grow(), 700);
  if (growing && grown.moment === last) setEmergence({ moment: 0 });
  $("grow").textContent = growing ? "❚❚" : "▶";
}

buttons("emerging", Object.keys(run.emergence), layer => setEmergence({ layer }));
$("moment").oninput = event => setEmergence({ moment: +event.target.value });
$("grow").onclick = grow;
addEventListener("resize", showEmergence);
showEmergence();
