// Draws surfaces with points and the plane that these lie in, far to near (painter's algorithm), on plain canvases:
// a few thousand triangles need no graphics library.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const [stage, slider, play, state] = [get("stage"), get("step"), get("play"), get("status")];
const canvases = [...stage.querySelectorAll("canvas")], said = [...stage.querySelectorAll(".said")];
const still = matchMedia("(prefers-reduced-motion: reduce)");
const START = { turn: -0.65, tilt: 0.42, zoom: 1 };
const view = { ...START };
const middle = Math.max(...data.size);

function numbers(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

// From units of the box to a cube around 0 with the box's proportions.
const place = (p) => p.map((value, axis) => (value - 0.5) * data.size[axis] / middle);

function decoded(surface) {
  const raw = numbers(surface.vertices), corners = numbers(surface.triangles), vertices = [], faces = [];
  for (let i = 0; i < raw.length; i += 3) vertices.push(place([raw[i] / 65535, raw[i + 1] / 65535, raw[i + 2] / 65535]));
  const height = place([0, 0, data.plane])[2];
  for (let i = 0; i < corners.length; i += 3) {
    const face = [corners[i], corners[i + 1], corners[i + 2]];
    const [a, b, c] = face.map((index) => vertices[index]);
    const u = b.map((value, axis) => value - a[axis]), w = c.map((value, axis) => value - a[axis]);
    const n = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
    const size = Math.hypot(...n) || 1;
    faces.push({ face, normal: n.map((value) => value / size), above: (a[2] + b[2] + c[2]) / 3 > height });
  }
  return { vertices, faces };
}

const surfaces = data.views.map((each) => each.surfaces.map(() => null));
const surfaceAt = (index, step) => (surfaces[index][step] ??= decoded(data.views[index].surfaces[step]));
const points = data.points.map(place);
const CELLS = 12; // the plane is drawn in cells, so that it is sorted with the surface

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  const rgb = (name) => [1, 3, 5].map((at) => parseInt(read(name).slice(at, at + 2), 16));
  return { above: rgb("--above"), below: rgb("--below"), rule: read("--muted"), ink: read("--ink"), disc: read("--disc"), square: read("--square") };
}

function draw(canvas, index) {
  const ratio = window.devicePixelRatio || 1, side = Math.round(canvas.clientWidth * ratio);
  if (canvas.width !== side || canvas.height !== side) canvas.width = canvas.height = side;
  const pen = canvas.getContext("2d"), palette = colours();
  pen.clearRect(0, 0, side, side);
  const [ct, st, cl, sl] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt)];
  const seen = ([x, y, z]) => { // right, up, towards the eye
    const [across, away] = [x * ct - y * st, x * st + y * ct];
    return [across, z * cl + away * sl, z * sl - away * cl];
  };
  const screen = ([across, up, near]) => {
    const scale = side * 0.62 * view.zoom * 3 / (3 - near);
    return [side / 2 + across * scale, side / 2 - up * scale];
  };
  const items = [];
  const { vertices, faces } = surfaceAt(index, Number(slider.value));
  const turned = vertices.map(seen), flat = turned.map(screen);
  for (const { face, normal, above } of faces) {
    const [a, b, c] = face, light = 0.68 + 0.4 * Math.abs(seen(normal)[2] * 0.8 + seen(normal)[1] * 0.6);
    const colour = (above ? palette.above : palette.below).map((value) => Math.round(value * Math.min(1, light)));
    items.push({ near: (turned[a][2] + turned[b][2] + turned[c][2]) / 3, draw: () => {
      pen.beginPath();
      pen.moveTo(...flat[a]); pen.lineTo(...flat[b]); pen.lineTo(...flat[c]); pen.closePath();
      pen.fillStyle = pen.strokeStyle = `rgb(${colour})`;
      pen.lineWidth = 0.6 * ratio; pen.fill(); pen.stroke(); // the stroke closes the seams
    } });
  }
  for (let i = 0; i < CELLS; i++) for (let j = 0; j < CELLS; j++) {
    const cell = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]].map(([x, y]) => seen(place([x / CELLS, y / CELLS, data.plane])));
    items.push({ near: cell.reduce((sum, corner) => sum + corner[2], 0) / 4, draw: () => {
      pen.beginPath();
      cell.map(screen).forEach((corner, k) => (k ? pen.lineTo(...corner) : pen.moveTo(...corner)));
      pen.closePath(); pen.globalAlpha = 0.13; pen.fillStyle = palette.rule; pen.fill(); pen.globalAlpha = 1;
    } });
  }
  const dots = points.map((point, k) => {
    const at = seen(point), radius = side * 0.0135 * view.zoom;
    return { near: at[2] + 0.03, draw: () => {
      const [x, y] = screen(at);
      pen.beginPath();
      if (data.sides[k]) pen.rect(x - radius, y - radius, 2 * radius, 2 * radius); else pen.arc(x, y, radius * 1.1, 0, 7);
      pen.fillStyle = data.sides[k] ? palette.square : palette.disc;
      pen.strokeStyle = data.sides[k] ? "#000" : "#fff"; pen.lineWidth = 1.6 * ratio; pen.fill(); pen.stroke();
    } };
  });
  [...items, ...dots].sort((one, other) => one.near - other.near).forEach((item) => item.draw());
  pen.globalAlpha = 0.3; // points behind the surface shine through
  dots.forEach((dot) => dot.draw());
  pen.globalAlpha = 1;
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; canvases.forEach(draw); });
}

function show(step, spoken = true) {
  slider.value = step;
  const name = data.steps[slider.value];
  get("name").textContent = name;
  slider.setAttribute("aria-valuetext", name);
  data.views.forEach((each, index) => {
    said[index].textContent = each.notes[slider.value];
    canvases[index].setAttribute("aria-label", `${name}: ${each.notes[slider.value]}`);
  });
  if (spoken) state.textContent = `${name}. ${data.views.map((each) => each.notes[slider.value]).join(" ")}`;
  redraw();
}

let timer = null;
function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
  play.setAttribute("aria-pressed", "false");
}
function toggle() {
  if (timer !== null) return stop();
  const last = Number(slider.max);
  if (Number(slider.value) === last) show(0, false);
  play.textContent = "Pause";
  play.setAttribute("aria-pressed", "true");
  timer = setInterval(() => {
    if (Number(slider.value) === last) return stop();
    show(Number(slider.value) + 1, Number(slider.value) + 1 === last);
  }, still.matches ? 2000 : 700); // nothing moves unless asked to; slower for those who want less motion
}

const KEYS = {
  ArrowLeft: () => { view.turn += 0.12; }, ArrowRight: () => { view.turn -= 0.12; },
  ArrowUp: () => { view.tilt = Math.min(1.5, view.tilt + 0.1); }, ArrowDown: () => { view.tilt = Math.max(-1.5, view.tilt - 0.1); },
  "+": () => { view.zoom = Math.min(3, view.zoom * 1.15); }, "-": () => { view.zoom = Math.max(0.4, view.zoom / 1.15); },
  "0": () => { Object.assign(view, START); },
  PageUp: () => show(Number(slider.value) + 1), PageDown: () => show(Number(slider.value) - 1),
  " ": toggle,
};
KEYS["="] = KEYS["+"]; // the same key without shift

document.addEventListener("keydown", (event) => {
  const at = event.target, key = event.key;
  const native = (at === slider && /^(Arrow|Page)/.test(key)) || (at.tagName === "BUTTON" && key === " ")
    || (!stage.contains(at) && key.startsWith("Page")); // elsewhere these scroll the page
  if (native || event.ctrlKey || event.metaKey || event.altKey || !(key in KEYS)) return;
  event.preventDefault();
  KEYS[key]();
  redraw();
});
document.querySelectorAll("[data-key]").forEach((button) => button.addEventListener("click", () => { KEYS[button.dataset.key](); redraw(); }));
play.addEventListener("click", toggle);
slider.addEventListener("input", () => { stop(); show(slider.value); });
canvases.forEach((canvas) => {
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    view.turn -= event.movementX * 0.01;
    view.tilt = Math.max(-1.5, Math.min(1.5, view.tilt + event.movementY * 0.01));
    redraw();
  });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(redraw).observe(stage);
addEventListener("beforeprint", () => canvases.forEach(draw));
show(slider.value, false);
