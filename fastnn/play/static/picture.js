// The decision map on a canvas: probabilities as the background, boundary as a line, points on top.

export const COLORS = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167]];
const DIFFERENT = [213, 94, 0];
export const css = (rgb) => `rgb(${rgb.join(" ")})`;

export function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Colours for drawing on a canvas, in light or dark mode. */
export function theme() {
  return isDark()
    ? { ground: [20, 23, 27], ink: "#f2f4f6", edge: "#f2f4f6", hollow: "#14171b" }
    : { ground: [255, 255, 255], ink: "#111111", edge: "#222222", hollow: "#ffffff" };
}

/** Image of a map; `color(p, rgb)` sets the colour of pixel `p`. */
function pixels(side, color) {
  const image = new ImageData(side, side);
  const rgb = [0, 0, 0];
  for (let p = 0; p < side * side; p++) {
    color(p, rgb);
    image.data.set(rgb, 4 * p);
    image.data[4 * p + 3] = 255;
  }
  return image;
}

/** Background of a map: the colour of the most probable class, stronger for higher probability. */
export function classPixels(map, classes, ground = theme().ground) {
  const { p, side } = map;
  const least = 1 / p.length;
  return pixels(side, (at, rgb) => {
    let best = 0;
    for (let k = 1; k < p.length; k++) if (p[k][at] > p[best][at]) best = k;
    const sure = (p[best][at] - least) / (1 - least);
    const strength = 0.1 + 0.55 * (sure || 0);
    const own = COLORS[classes[best]];
    for (let c = 0; c < 3; c++) rgb[c] = ground[c] + strength * (own[c] - ground[c]);
  });
}

/** Background for two maps: total variation distance of their probabilities. */
export function differencePixels(one, other) {
  const { ground } = theme();
  return pixels(one.side, (at, rgb) => {
    const moved = distance(one, other, at);
    for (let c = 0; c < 3; c++) rgb[c] = ground[c] + moved * (DIFFERENT[c] - ground[c]);
  });
}

function distance(one, other, at) {
  let moved = 0;
  for (let k = 0; k < one.p.length; k++) moved += Math.abs(one.p[k][at] - other.p[k][at]);
  return Math.min(1, moved / 2);
}

/** Fraction of the picture where the predicted classes differ. */
export function disagreement(one, other) {
  let count = 0;
  const n = one.side ** 2;
  for (let at = 0; at < n; at++) count += winner(one.p, at) !== winner(other.p, at);
  return count / n;
}

function winner(p, at) {
  let best = 0;
  for (let k = 1; k < p.length; k++) if (p[k][at] > p[best][at]) best = k;
  return best;
}

/**
 * Segments of the boundary, `[x0, y0, x1, y1]` from 0 to 1, by marching squares on the net inputs. With
 * relu these are piecewise linear, while probabilities are close to 0 or 1 nearly everywhere.
 */
export function boundary(map) {
  const { z, side } = map;
  const pieces = [];
  for (let k = 0; k < (z.length === 2 ? 1 : z.length); k++) {
    const lead = Float32Array.from(z[k], (value, at) => {
      let other = -Infinity;
      for (let j = 0; j < z.length; j++) if (j !== k && z[j][at] > other) other = z[j][at];
      return value - other;
    });
    march(lead, side, pieces);
  }
  return pieces;
}

function march(lead, side, pieces) {
  const place = (i) => (i + 0.5) / side;
  for (let row = 0; row + 1 < side; row++) {
    for (let column = 0; column + 1 < side; column++) {
      const at = row * side + column;
      const [a, b, c, d] = [lead[at], lead[at + 1], lead[at + side + 1], lead[at + side]];
      const signs = (a > 0) + (b > 0) + (c > 0) + (d > 0);
      if (signs === 0 || signs === 4) continue;
      const ends = [];
      if (a > 0 !== b > 0) ends.push([column + a / (a - b), row]);
      if (b > 0 !== c > 0) ends.push([column + 1, row + b / (b - c)]);
      if (d > 0 !== c > 0) ends.push([column + d / (d - c), row + 1]);
      if (a > 0 !== d > 0) ends.push([column, row + a / (a - d)]);
      for (let e = 0; e + 1 < ends.length; e += 2) {
        pieces.push([...ends[e].map(place), ...ends[e + 1].map(place)]);
      }
    }
  }
}

const sheet = document.createElement("canvas");

/** Match a canvas to the resolution of the screen; returns its context, in CSS pixels, and its side. */
export function prepare(canvas) {
  const side = canvas.clientWidth || 200;
  const dense = Math.round(side * Math.min(devicePixelRatio || 1, 3));
  if (canvas.width !== dense) canvas.width = canvas.height = dense;
  const context = canvas.getContext("2d");
  context.setTransform(dense / side, 0, 0, dense / side, 0, 0);
  return [context, side];
}

export function drawGround(context, side, image) {
  sheet.width = sheet.height = image.width;
  sheet.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(sheet, 0, 0, side, side);
}

export function drawBoundary(context, side, pieces, dash = [], width = 1.6) {
  context.beginPath();
  for (const [x0, y0, x1, y1] of pieces) {
    context.moveTo(x0 * side, y0 * side);
    context.lineTo(x1 * side, y1 * side);
  }
  context.setLineDash(dash);
  context.strokeStyle = theme().ink;
  context.lineWidth = width;
  context.stroke();
  context.setLineDash([]);
}

/** Markers of the classes, distinct without colour too: circle, triangle, square, diamond. */
export function markPath(kind, x, y, r) {
  if (kind === 1) {
    const [h, w] = [1.25 * r, 1.15 * r];
    return `M${x} ${y - h}L${x + w} ${y + 0.75 * h}L${x - w} ${y + 0.75 * h}Z`;
  }
  if (kind === 2) return `M${x - 0.9 * r} ${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}Z`;
  if (kind === 3) return `M${x} ${y - 1.3 * r}L${x + 1.1 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.1 * r} ${y}Z`;
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

/** Points of a frame inside the picture: `[x, y, class, heldOut]`, coordinates from 0 to 1. */
export function* placed(frame, limits) {
  const [left, right, bottom, top] = limits;
  for (let i = 0; i < frame.y.length; i++) {
    const x = (frame.X[2 * i] - left) / (right - left);
    const y = (top - frame.X[2 * i + 1]) / (top - bottom);
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1) yield [x, y, frame.y[i], frame.held_out[i] > 0];
  }
}

export function drawPoints(context, side, frame, limits, size) {
  const { edge, hollow } = theme();
  const radius = size ?? Math.max(2.2, Math.min(4.2, 60 / Math.sqrt(frame.y.length)));
  const stamps = new Map(); // one path for all points of the same style: far fewer calls
  for (const [x, y, k, heldOut] of placed(frame, limits)) {
    const key = `${k}${heldOut}`;
    if (!stamps.has(key)) stamps.set(key, { k, heldOut, one: new Path2D(markPath(k, 0, 0, radius)), all: new Path2D() });
    const { one, all } = stamps.get(key);
    all.addPath(one, { e: x * side, f: y * side });
  }
  for (const { k, heldOut, all } of stamps.values()) {
    context.fillStyle = heldOut ? hollow : css(COLORS[k]);
    context.strokeStyle = heldOut ? css(COLORS[k]) : edge;
    context.lineWidth = heldOut ? 1.6 : 0.7;
    context.fill(all);
    context.stroke(all);
  }
}
