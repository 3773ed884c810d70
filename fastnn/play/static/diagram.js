// The network as a diagram: a thumbnail for each unit; the line width shows the size of a weight.

import { grid } from "./net.js";
import { COLORS, css, isDark, theme } from "./picture.js";

const SIDE = 24; // side of a thumbnail, in pixels
const sheet = document.createElement("canvas");
sheet.width = sheet.height = SIDE;

/** Centres and size of the units of a layer. */
function places(count, x, height, most) {
  const step = Math.min(most + 10, (height - 8) / count);
  const size = Math.max(4, Math.min(most, step - Math.min(8, step * 0.2)));
  const top = height / 2 - ((count - 1) * step) / 2;
  return Array.from({ length: count }, (_, i) => ({ x, y: top + i * step, size }));
}

/** Map of a unit: one colour for negative outputs, one for positive, fully saturated at `most`. */
export function unitPixels(values, most, colors = [COLORS[0], COLORS[1]]) {
  const side = Math.sqrt(values.length);
  const image = new ImageData(side, side);
  const { ground } = theme();
  for (let p = 0; p < values.length; p++) {
    const value = Math.max(-1, Math.min(1, values[p] / most));
    const own = value < 0 ? colors[0] : colors[1];
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = ground[c] + Math.abs(value) * (own[c] - ground[c]);
    image.data[4 * p + 3] = 255;
  }
  return image;
}

function thumbnail(context, values, place, most, colors) {
  sheet.getContext("2d").putImageData(unitPixels(values, most, colors), 0, 0);
  const half = place.size / 2;
  context.drawImage(sheet, place.x - half, place.y - half, place.size, place.size);
  context.strokeStyle = isDark() ? "#7d8894" : "#7a838c";
  context.lineWidth = 1;
  context.strokeRect(place.x - half, place.y - half, place.size, place.size);
}

let drawn = []; // positions of the units

/** The hidden unit at a position of the diagram, `[layer, unit]`, or null. */
export function unitAt(x, y) {
  for (let i = 1; i + 1 < drawn.length; i++) {
    const j = drawn[i].findIndex((p) => 2 * Math.max(Math.abs(x - p.x), Math.abs(y - p.y)) <= p.size);
    if (j >= 0) return [i - 1, j];
  }
  return null;
}

/** Draw the network; `classes` are the classes of its outputs. */
export function drawDiagram(canvas, net, limits, classes) {
  const width = canvas.clientWidth || 400;
  const most = Math.max(...net.sizes);
  const height = Math.max(150, Math.min(330, 46 * most + 12));
  const dense = Math.min(devicePixelRatio || 1, 3);
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  const column = width / net.sizes.length;
  const layers = net.sizes.map((count, i) =>
    places(count, (i + 0.5) * column, height, Math.min(36, column * 0.6)));
  drawn = layers;
  wires(context, net, layers);
  const [xs, ys] = grid(limits, SIDE);
  const outputs = [[centred(xs), centred(ys)], ...net.layers(xs, ys)];
  outputs.forEach((units, i) => {
    const last = i === outputs.length - 1;
    units.forEach((values, j) => {
      // Hidden units are scaled per layer, so that small outputs look weak; outputs have the colour of their class.
      const own = last ? [theme().ground, COLORS[classes[j]]] : [COLORS[0], COLORS[1]];
      thumbnail(context, values, layers[i][j], last ? 1 : largest(units), own);
    });
  });
}

function centred(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return Float32Array.from(values, (v) => (2 * (v - low)) / (high - low || 1) - 1);
}

export function largest(units) {
  let most = 1e-9;
  for (const values of units) for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

function wires(context, net, layers) {
  for (let i = 0; i + 1 < layers.length; i++) {
    const weights = net.weights(i);
    const to = net.sizes[i + 1];
    let most = 1e-9;
    for (const w of weights) most = Math.max(most, Math.abs(w));
    weights.forEach((w, at) => {
      const [a, b] = [layers[i][Math.floor(at / to)], layers[i + 1][at % to]];
      const strength = Math.abs(w) / most;
      if (strength < 0.02 || !Number.isFinite(strength)) return;
      context.strokeStyle = css(w < 0 ? COLORS[0] : COLORS[1]);
      context.globalAlpha = 0.25 + 0.75 * strength;
      context.lineWidth = 0.4 + 4 * strength;
      context.setLineDash(w < 0 ? [5, 3] : []); // the sign is visible without colour too
      context.beginPath();
      const middle = (a.x + b.x) / 2;
      context.moveTo(a.x + a.size / 2, a.y);
      context.bezierCurveTo(middle, a.y, middle, b.y, b.x - b.size / 2, b.y);
      context.stroke();
    });
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
}

/** Controls below the diagram: units, activation and removal of each hidden layer. */
export function buildColumns(box, settings, choices, limits, change) {
  const focus = document.activeElement?.id;
  box.replaceChildren();
  const add = (column, tag, props) => {
    const made = Object.assign(document.createElement(tag), props);
    column.append(made);
    return made;
  };
  const column = () => add(box, "div", { className: "column" });
  const first = column();
  add(first, "span", { textContent: "inputs", className: "soft" });
  settings.hidden.forEach((units, i) => {
    const here = column();
    const row = add(here, "div", { className: "units" });
    const set = (count) => () => change((s) => s.hidden.splice(i, 1, count));
    add(row, "button", {
      type: "button", id: `less-${i}`, textContent: "−", disabled: units <= 1, onclick: set(units - 1),
      ariaLabel: `One unit less in layer ${i + 1}`,
    });
    add(row, "output", { textContent: units, ariaLabel: `Units of layer ${i + 1}` });
    add(row, "button", {
      type: "button", id: `more-${i}`, textContent: "+", disabled: units >= limits.units, onclick: set(units + 1),
      ariaLabel: `One unit more in layer ${i + 1}`,
    });
    const select = add(here, "select", {
      id: `activation-${i}`, ariaLabel: `Activation of layer ${i + 1}`,
      onchange: () => change((s) => s.activation.splice(i, 1, select.value)),
    });
    for (const name of choices) add(select, "option", { value: name, textContent: name });
    select.value = settings.activation[i];
    add(here, "button", {
      type: "button", id: `remove-${i}`, className: "remove", textContent: "remove",
      ariaLabel: `Remove layer ${i + 1}`,
      onclick: () => change((s) => { s.hidden.splice(i, 1); s.activation.splice(i, 1); }),
    });
  });
  const last = column();
  add(last, "span", { textContent: "classes", className: "soft" });
  add(last, "button", {
    type: "button", id: "add-layer", textContent: "+ layer", disabled: settings.hidden.length >= limits.layers,
    ariaLabel: "Add a hidden layer",
    onclick: () => change((s) => {
      s.hidden.push(s.hidden.at(-1) ?? 3);
      s.activation.push(s.activation.at(-1) ?? "tanh");
    }),
  });
  box.parentElement.style.width = `max(100%, ${(settings.hidden.length + 2) * 80}px)`;
  if (focus) document.getElementById(focus)?.focus();
}
