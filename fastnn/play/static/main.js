// The page: sends settings, receives frames, and holds the state that the other modules draw.

import { Controls } from "./controls.js";
import { buildColumns, drawDiagram, largest, unitAt, unitPixels } from "./diagram.js";
import { Link, post } from "./link.js";
import { grid, gridSide, mapOf, netOf } from "./net.js";
import {
  count, inWords, percent, plural, scoresOf, showCurves, showLegend, showNumbers, showSpeed, stepOf,
} from "./numbers.js";
import { Pen } from "./pen.js";
import {
  boundary, classPixels, drawBoundary, drawGround, drawPoints, prepare, theme,
} from "./picture.js";
import { showPinned } from "./pinned.js";
import { download, figureSvg, fromHash, pointsCsv, toHash } from "./share.js";
import { TableForm } from "./table.js";

const $ = (id) => document.getElementById(id);
const about = await (await fetch("about.json")).json();
const fields = about.fields;
let settings = fromHash(location.hash, fields);
let frame = null; // latest frame
let at = null; // index of the snapshot shown; null means the last one
let pinned = null; // {frame, settings, net}
let sheet = null; // limits of the picture, fixed while the user draws points
let cursor = null;
let unit = null; // [layer, unit] under the mouse, whose map the picture shows
const stats = { frames: 0, latencies: [], times: [] };

// --- settings ---------------------------------------------------------------------------

let asking = false;

/** Edit the settings and retrain; several edits in one task are sent as one request. */
function change(edit) {
  edit(settings);
  show();
  if (asking) return;
  asking = true;
  queueMicrotask(() => {
    asking = false;
    link.ask(settings);
    remember();
  });
}

let remembering = 0;

function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const hash = toHash(settings, fields);
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
    const preset = about.presets.find((p) => toHash(full(p.settings), fields) === hash);
    $("preset").value = preset?.name ?? "";
    $("see").textContent = preset ? preset.see : "Settings of your own: the address of this page has them all.";
  }, 250);
}

function full(given) {
  const usual = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.default]));
  return structuredClone({ ...usual, ...given });
}

let columnsShown = "";

/** Show the settings in all controls. */
function show() {
  if (settings.data !== "points") sheet = null;
  controls.show(settings);
  const key = JSON.stringify([settings.hidden, settings.activation]);
  const most = { units: about.most_units, layers: fields.hidden.most };
  if (key !== columnsShown) buildColumns($("columns"), settings, fields.activation.choices, most, change);
  columnsShown = key;
  $("clear").hidden = settings.data !== "points";
}

function replaceAll(all) {
  at = sheet = null;
  settings = all;
  show();
  link.ask(settings);
  remember();
}

// --- frames -----------------------------------------------------------------------------

function shownIndex() {
  return at === null ? frame.at.length - 1 : Math.min(at, frame.at.length - 1);
}

const limitsNow = () => sheet ?? frame.limits;

/** The points of the frame, or the user's points if these have changed since. */
function pointsNow() {
  const { data, points } = settings;
  if (data !== "points" || points.length === frame.y.length) return frame;
  return { X: points.flatMap(([x, y]) => [x, y]), y: points.map((point) => point[2]), held_out: points.map(() => 0) };
}

let due = false;

/** Draw once before the next screen refresh, however often this is called. */
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (frame) drawNow();
  });
}

function drawNow() {
  const index = shownIndex();
  const net = netOf(frame, index);
  const limits = limitsNow();
  const map = mapOf(net, limits, gridSide(net));
  const [context, side] = prepare($("picture"));
  if (unit?.[0] < net.sizes.length - 2 && unit[1] < net.sizes[unit[0] + 1]) {
    const units = net.layers(...grid(limits, map.side))[unit[0]];
    drawGround(context, side, unitPixels(units[unit[1]], largest(units)));
  } else drawGround(context, side, classPixels(map, frame.classes));
  drawBoundary(context, side, boundary(map));
  drawPoints(context, side, pointsNow(), limits);
  if (cursor) drawCursor(context, side);
  drawDiagram($("wires"), net, limits, frame.classes);
  showTime(index);
  showNumbers(frame, index);
  showCurves(frame, pinned?.frame, index);
  if (pinned) showPinned(pinned, { frame, settings, net }, limits);
  if (frame.fresh) {
    frame.fresh = false;
    const asked = link.asked.get(frame.id);
    stats.frames += 1;
    stats.times.push(performance.now());
    if (asked) stats.latencies.push(performance.now() - asked);
    if (stats.times.length > 600) { stats.times.shift(); stats.latencies.shift(); }
    showSpeed(frame, stats);
  }
}

function drawCursor(context, side) {
  const [x, y] = cursor.map((v) => v * side);
  context.strokeStyle = theme().ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - 9, y); context.lineTo(x + 9, y);
  context.moveTo(x, y - 9); context.lineTo(x, y + 9);
  context.stroke();
}

function onframe(next) {
  next.fresh = true;
  frame = next;
  if (frame.id === link.number) { // an older frame must not replace a newer notice
    $("notice").hidden = !frame.message;
    $("notice").textContent = frame.message;
  }
  const words = { training: "training …", time: "stopped", diverged: "diverged" };
  $("state").hidden = !(frame.status in words);
  $("state").textContent = words[frame.status] ?? "";
  $("time").max = frame.at.length - 1;
  $("shape").textContent = `${frame.layers.join("-")}, ${plural(frame.params.length / frame.at.length, "parameter")}`;
  showLegend(frame, limitsNow(), settings.data === "points" ? table : {});
  say();
  draw();
}

function showTime(index) {
  const text = `step ${count(stepOf(frame, index))}`;
  if (document.activeElement !== $("time") || at === null) $("time").value = index;
  $("time-text").textContent = $("time").ariaValueText = text;
}

// --- screen readers ---------------------------------------------------------------------

let saying = 0;

/** Describe the result in words after 0.7 s without a new frame. */
function say() {
  clearTimeout(saying);
  saying = setTimeout(() => {
    const text = inWords(frame);
    $("says").textContent = text;
    $("picture").ariaLabel = `Decision map of ${frame.classes.length} classes over ${plural(frame.y.length, "point")}. ${text}`;
  }, 700);
}

// --- replay -----------------------------------------------------------------------------

let replaying = 0;

function stopReplay() {
  clearInterval(replaying);
  replaying = 0;
  $("replay").textContent = "▶";
  $("replay").ariaLabel = "Replay the training";
}

$("replay").onclick = () => {
  if (replaying) return stopReplay();
  at = 0;
  $("replay").textContent = "❚❚";
  $("replay").ariaLabel = "Stop the replay";
  replaying = setInterval(() => {
    draw();
    if (at >= frame.at.length - 1) { at = null; stopReplay(); } else at += 1;
  }, 90);
};
$("time").oninput = () => {
  stopReplay();
  const value = Number($("time").value);
  at = value >= frame.at.length - 1 ? null : value;
  draw();
};

// --- one unit ---------------------------------------------------------------------------

function look(found) {
  if (String(found) === String(unit)) return;
  unit = found;
  $("state").hidden = !unit;
  if (unit) $("state").textContent = `unit ${unit[1] + 1} of layer ${unit[0] + 1}: blue negative, orange positive`;
  draw();
}
$("wires").addEventListener("pointermove", (event) => look(unitAt(event.offsetX, event.offsetY)));
$("wires").addEventListener("pointerleave", () => look(null));

// --- two runs ---------------------------------------------------------------------------

$("pin").onclick = () => {
  const net = netOf(frame, shownIndex());
  pinned = pinned ? null : { frame, settings: structuredClone(settings), net };
  $("pin").textContent = pinned ? "Unpin" : "Pin this run to compare";
  $("pinned").hidden = !pinned;
  draw();
};

// --- export -----------------------------------------------------------------------------

async function copy(button, text) {
  const usual = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    prompt("Copy with Ctrl-C:", text);
  }
  setTimeout(() => { button.textContent = usual; }, 1200);
}

const attempt = (work) => async (event) => {
  try { await work(event.currentTarget); } catch (error) { onerror(error.message); }
};
$("copy-link").onclick = attempt((button) => {
  const hash = toHash(settings, fields);
  return copy(button, `${location.origin}/${hash ? `#${hash}` : ""}`);
});
const code = async () => (await post("code", settings)).json();
$("copy-python").onclick = attempt(async (button) => copy(button, (await code()).python));
$("copy-command").onclick = attempt(async (button) => copy(button, (await code()).command));
$("save-model").onclick = attempt(async () => {
  download("model.safetensors", await (await post("model", settings)).blob());
});
$("save-points").onclick = attempt(() => download("points.csv", pointsCsv(frame), "text/csv"));
$("save-figure").onclick = attempt(() => download("figure.svg", figure(), "image/svg+xml"));

function figure() {
  const index = shownIndex();
  const net = netOf(frame, index);
  const map = mapOf(net, limitsNow(), 160);
  const { accuracy } = scoresOf(frame, index);
  const step = count(stepOf(frame, index));
  const words = `${settings.data}, ${frame.layers.join("-")}, step ${step}, training accuracy ${percent(accuracy)}`;
  const image = classPixels(map, frame.classes, [255, 255, 255]); // white ground, in dark mode too
  return figureSvg(frame, map, limitsNow(), image, words);
}

// --- start ------------------------------------------------------------------------------

function onerror(message) {
  $("notice").hidden = false;
  $("notice").textContent = message;
}

function presets() {
  const select = $("preset");
  select.append(new Option("your own settings", ""));
  for (const group of new Set(about.presets.map((p) => p.group))) {
    const box = Object.assign(document.createElement("optgroup"), { label: group });
    for (const p of about.presets) if (p.group === group) box.append(new Option(p.title, p.name));
    select.append(box);
  }
  select.onchange = () => {
    const preset = about.presets.find((p) => p.name === select.value);
    if (!preset) return;
    $("see").textContent = preset.see;
    replaceAll(full(preset.settings));
  };
}

function presentPoints() {
  if (settings.data === "points" || !frame) return settings.points;
  const short = (v) => Number(v.toPrecision(5)); // the page address contains all points
  return Array.from(frame.y, (k, i) => [short(frame.X[2 * i]), short(frame.X[2 * i + 1]), k]);
}

function setPoints(points) {
  change((s) => Object.assign(s, { data: "points", points, scale: 1 }));
  draw();
}

const link = new Link({
  onframe,
  onerror,
  onstate: (open) => {
    if (!open) onerror("The server does not answer: is fastnn play still running? The page goes on when it does.");
    else $("notice").hidden = true;
  },
});
const controls = new Controls(about, change);
const pen = new Pen($("picture"), $("tools"), $("tool-hint"), {
  points: presentPoints,
  limits: limitsNow,
  change: (points) => { sheet = limitsNow(); setPoints(points); },
  cursor: (place) => { cursor = place; draw(); },
  most: fields.points.most,
});
const table = new TableForm({ change, setPoints: (points) => { sheet = null; setPoints(points); }, onerror });
$("clear").onclick = () => { sheet = limitsNow(); setPoints([]); };
presets();
show();
remember();
link.ask(settings);
addEventListener("hashchange", () => replaceAll(fromHash(location.hash, fields)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(draw).observe(document.querySelector("main"));
document.addEventListener("click", (event) => { if (!$("share").contains(event.target)) $("share").open = false; });

// For tests and measurements.
window.play = {
  drawNow,
  stats, about, link, figure, table,
  get settings() { return settings; },
  get frame() { return frame; },
  probabilities: (xs, ys) => netOf(frame, shownIndex()).probabilities(xs, ys).map((p) => Array.from(p)),
};
