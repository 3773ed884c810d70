// Loss curves, both axes logarithmic.

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [420, 190, 46, 30, 20, 8];

function path(xs, ys, place) {
  let [text, pen] = ["", "M"];
  xs.forEach((x, i) => {
    if (!Number.isFinite(ys[i]) || ys[i] <= 0) { pen = "M"; return; }
    const [px, py] = place(x, ys[i]);
    text += `${pen}${px.toFixed(1)} ${py.toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function decades(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / most));
  const found = [];
  for (let power = first; power <= last; power += every) found.push(power);
  return found;
}

/** Label of a power of ten. */
function short(power) {
  if (power < -3 || power > 5) return `1e${power}`;
  return power >= 0 ? (10 ** power).toLocaleString("en") : (10 ** power).toFixed(-power);
}

/** Ticks of the loss axis: powers of ten, or 1, 2, 5 times these if they are too few. */
function lossTicks(low, high) {
  const powers = decades(low, high, 5).map((power) => [10 ** power, short(power)]);
  if (powers.length > 2) return powers;
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of [1, 2, 5]) {
      const value = digit * 10 ** power;
      if (value >= low && value <= high) found.push([value, String(Number(value.toPrecision(1)))]);
    }
  }
  return found.length ? found : powers;
}

/** SVG of the curves `[{xs, ys, color, dash, name}]`, with a vertical line at `step`. */
export function curvesSvg(curves, step, name) {
  const values = curves.flatMap((c) => Array.from(c.ys).filter((v) => Number.isFinite(v) && v > 0));
  const last = Math.max(10, ...curves.map((c) => c.xs.at(-1) ?? 1));
  const top = Math.max(...values, 1e-12) * 1.1;
  const low = Math.max(Math.min(...values, top / 2) / 1.1, top * 1e-40);
  const place = (x, y) => [
    LEFT + (Math.log10(Math.max(x, 1)) / Math.log10(last)) * (WIDTH - LEFT - RIGHT),
    TOP + (Math.log10(top / Math.max(y, low)) / Math.log10(top / low)) * (HEIGHT - TOP - BOTTOM),
  ];
  const line = (x0, y0, x1, y1, extra = "") =>
    `<line x1="${x0}" y1="${y0}" x2="${x1}" y2="${y1}" ${extra}/>`;
  let body = "";
  for (const power of decades(1, last, 6)) {
    const [x] = place(10 ** power, top);
    body += line(x, TOP, x, HEIGHT - BOTTOM, 'stroke="var(--line)" stroke-width="0.7"');
    const anchor = x > WIDTH - RIGHT - 20 ? "end" : "middle";
    body += `<text x="${x}" y="${HEIGHT - BOTTOM + 13}" text-anchor="${anchor}">${short(power)}</text>`;
  }
  for (const [value, text] of lossTicks(low, top)) {
    const [, y] = place(1, value);
    body += line(LEFT, y, WIDTH - RIGHT, y, 'stroke="var(--line)" stroke-width="0.7"');
    body += `<text x="${LEFT - 5}" y="${y + 4}" text-anchor="end">${text}</text>`;
  }
  if (step >= 1) {
    const [x] = place(step, top);
    body += line(x, TOP, x, HEIGHT - BOTTOM, 'stroke="var(--soft)" stroke-dasharray="2 2"');
  }
  let at = LEFT;
  for (const curve of [...curves].reverse()) {
    const dash = curve.dash ? `stroke-dasharray="${curve.dash}"` : "";
    const look = `fill="none" stroke="${curve.color}" stroke-width="1.8" stroke-linejoin="round"`;
    body += `<path d="${path(curve.xs, curve.ys, place)}" ${look} ${dash}/>`;
  }
  for (const curve of curves.filter((c) => c.name)) {
    const dash = curve.dash ? `stroke-dasharray="${curve.dash}"` : "";
    body += line(at, 9, at + 18, 9, `stroke="${curve.color}" stroke-width="2" ${dash}`);
    body += `<text x="${at + 22}" y="13">${curve.name}</text>`;
    at += 36 + 6.1 * curve.name.length;
  }
  body += `<text x="${WIDTH - RIGHT}" y="${HEIGHT - 3}" text-anchor="end">step</text>`;
  body += `<text x="${LEFT - 5}" y="13" text-anchor="end">loss</text>`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" fill="var(--soft)" font-size="11" aria-label="${name}">${body}</svg>`;
}
