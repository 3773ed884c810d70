// Export: links and files.

import { COLORS, boundary, css, markPath, placed } from "./picture.js";

/** URL fragment with all settings that differ from the defaults. */
export function toHash(settings, fields) {
  const parts = new URLSearchParams();
  for (const [name, { default: usual }] of Object.entries(fields)) {
    const value = settings[name];
    if (JSON.stringify(value) === JSON.stringify(usual)) continue;
    if (name === "points") {
      if (settings.data === "points") parts.set(name, value.map((point) => point.join(",")).join(";"));
    } else parts.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  return parts.toString().replaceAll("%2C", ",").replaceAll("%3B", ";");
}

/** Settings from a URL fragment; missing ones get their defaults. The server validates them. */
export function fromHash(hash, fields) {
  const settings = {};
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [name, { default: usual }] of Object.entries(fields)) {
    const text = given.get(name);
    if (text === null) settings[name] = structuredClone(usual);
    else if (name === "points") settings[name] = text.split(";").map((point) => point.split(",").map(Number));
    else if (Array.isArray(usual)) {
      const items = text === "" ? [] : text.split(",");
      settings[name] = typeof usual[0] === "number" ? items.map(Number) : items;
    } else if (typeof usual === "boolean") settings[name] = text === "true";
    else settings[name] = typeof usual === "number" ? Number(text) : text;
  }
  return settings;
}

export function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function pointsCsv(frame) {
  const rows = Array.from(frame.y, (k, i) => `${frame.X[2 * i]},${frame.X[2 * i + 1]},${k}`);
  return `x0,x1,class\n${rows.join("\n")}\n`;
}

/** The picture as SVG: the background `image` as a bitmap, everything else as paths. */
export function figureSvg(frame, map, limits, image, caption) {
  const [side, left, top, below] = [480, 46, 12, 58];
  const sheet = document.createElement("canvas");
  sheet.width = sheet.height = image.width;
  sheet.getContext("2d").putImageData(image, 0, 0);
  const number = (v) => Number(v.toFixed(2));
  const line = boundary(map)
    .map(([x0, y0, x1, y1]) => `M${number(x0 * side)} ${number(y0 * side)}L${number(x1 * side)} ${number(y1 * side)}`)
    .join("");
  const radius = Math.max(2.2, Math.min(4.2, 60 / Math.sqrt(frame.y.length)));
  let marks = "";
  for (const [x, y, k, heldOut] of placed(frame, limits)) {
    const look = heldOut
      ? `fill="white" stroke="${css(COLORS[k])}" stroke-width="1.6"`
      : `fill="${css(COLORS[k])}" stroke="#222" stroke-width=".7"`;
    const place = `translate(${number(x * side)} ${number(y * side)})`;
    marks += `<path transform="${place}" d="${markPath(k, 0, 0, number(radius))}" ${look}/>`;
  }
  const [x0, x1, y0, y1] = limits.map((v) => String(Number(v.toPrecision(4))));
  const text = (x, y, words, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const [width, height] = [side + left + 12, side + top + below];
  const font = 'font-family="sans-serif" font-size="13" fill="#222"';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${-left} ${-top} ${width} ${height}" ${font}>
<rect x="${-left}" y="${-top}" width="${width}" height="${height}" fill="white"/>
<image width="${side}" height="${side}" preserveAspectRatio="none" href="${sheet.toDataURL("image/png")}"/>
<path d="${line}" fill="none" stroke="#111" stroke-width="1.6" stroke-linecap="round"/>
${marks}
<rect width="${side}" height="${side}" fill="none" stroke="#888"/>
${text(0, side + 17, x0, "start")}${text(side, side + 17, x1, "end")}
${text(-6, side, y0, "end")}${text(-6, 12, y1, "end")}
${text(side / 2, side + 42, caption)}
</svg>
`;
}
