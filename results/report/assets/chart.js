// Charts as SVG: lines and dots with a tooltip, a legend that hides, arrow keys, and the numbers as a table.
const SHAPES = {
  o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", s: "M-3.6,-3.6h7.2v7.2h-7.2z", D: "M0,-5L5,0L0,5L-5,0z",
  "^": "M0,-4.8L4.6,3.8L-4.6,3.8z", v: "M0,4.8L4.6,-3.8L-4.6,-3.8z", P: "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
  X: "M-4.4,-4.4h8.8v8.8h-8.8z", h: "M0,-4.8L4.2,-2.4V2.4L0,4.8L-4.2,2.4V-2.4z", d: "M0,-5.4L3.4,0L0,5.4L-3.4,0z",
  "<": "M-4.8,0L3.8,4.6L3.8,-4.6z", ">": "M4.8,0L-3.8,4.6L-3.8,-4.6z", "*": "M-3.6,-3.6h7.2v7.2h-7.2z",
};
const tip = document.getElementById("tip");

function showTip(x, y, lines) {
  tip.replaceChildren(...lines.map((line, i) => el(i ? "div" : "strong", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + height + 24 > innerHeight ? y - height - 12 : y + 14}px`;
}
const hideTip = () => { tip.hidden = true; };

/** Round values that divide [low, high] into about `count` parts. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count) || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 2.5, 5, 10].find((factor) => factor * size >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && found.length < 50; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of high / low > 50 ? [1] : [1, 2, 5]) found.push(Number((factor * 10 ** power).toPrecision(3)));
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}
/** From values to pixels; `axis` = {log, ticks, from, to}. */
function scale(axis, values, start, end, count) {
  const known = values.filter((value) => Number.isFinite(value) && (!axis.log || value > 0));
  let low = Math.min(...known), high = Math.max(...known);
  if (!known.length) [low, high] = [axis.log ? 1 : 0, axis.log ? 10 : 1];
  const into = axis.log ? Math.log10 : (value) => value;
  let [a, b] = [into(axis.from ?? low), into(axis.to ?? high)];
  const far = b - a > 1e-9 * Math.max(Math.abs(a), Math.abs(b)); // values that differ by rounding alone are one value
  const pad = far ? (b - a) * 0.05 : Math.abs(a) * 0.05 || 0.5;
  if (axis.from === undefined) a -= pad;
  if (axis.to === undefined) b += pad;
  const place = (value) => start + ((into(value) - a) / (b - a)) * (end - start);
  const back = (value) => (axis.log ? 10 ** value : value);
  const marks = axis.ticks ?? (axis.log ? logTicks(back(a), back(b)) : ticks(a, b, count));
  return { place, marks: marks.filter((value) => into(value) >= a - 1e-9 && into(value) <= b + 1e-9) };
}

/**
 * A chart. spec: {title, height, x: {label, log, ticks, from, format}, y: {...}, caption, onpick(meta),
 *   series: [{name, colour, marker, width, opacity, dash, line, dots, legend, steps, points: [{x, y, bar, lines, meta}]}],
 *   rules: [{name, y}]}
 */
function chart(spec) {
  const holder = el("div", { class: "plot" });
  const hidden = new Set();
  const figure = el("figure", { class: "card chart" }, spec.title ? el("h3", {}, spec.title) : null, holder);
  const draw = () => {
    if (!holder.clientWidth) return;
    holder.replaceChildren(drawChart(spec, holder.clientWidth, hidden));
  };
  figure.append(legend(spec, hidden, draw));
  if (spec.caption) figure.append(el("figcaption", {}, spec.caption));
  figure.append(numbers(spec));
  let width = 0;
  new ResizeObserver(() => {
    if (holder.clientWidth && Math.abs(holder.clientWidth - width) > 1) { width = holder.clientWidth; draw(); }
  }).observe(holder);
  return figure;
}

function drawChart(spec, width, hidden) {
  const height = spec.height ?? 320, box = { left: 56, right: width - 14, top: 12, bottom: height - 44 };
  const series = spec.series.filter((one) => !hidden.has(one.name));
  const all = series.flatMap((one) => one.points);
  const rules = (spec.rules ?? []).filter((rule) => !missing(rule.y));
  const x = scale(spec.x, all.map((point) => point.at ?? point.x), box.left, box.right, Math.max(3, width / 90));
  const heights = [...all.flatMap((p) => [p.y - (p.bar ?? 0), p.y + (p.bar ?? 0)]), ...rules.map((rule) => rule.y)];
  const y = scale(spec.y, heights, box.bottom, box.top, 6);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: 0, class: "chart-svg",
    "aria-label": `${spec.title ?? "Chart"}: ${spec.y.label} against ${spec.x.label}. Arrow keys walk through the points, Enter opens a run.` });
  const format = (axis, value) => (axis.format ?? ((v) => plain(v, 3)))(value);
  for (const mark of y.marks) svg.append(el("line", { class: "grid", x1: box.left, x2: box.right, y1: y.place(mark), y2: y.place(mark) }),
    el("text", { class: "tick", x: box.left - 8, y: y.place(mark) + 4, "text-anchor": "end" }, format(spec.y, mark)));
  let free = -Infinity; // labels that would overlap are left out, their lines stay
  for (const mark of x.marks) {
    const label = format(spec.x, mark), half = 4 + 3.6 * label.length, at = x.place(mark);
    svg.append(el("line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.bottom }));
    if (at - half < free) continue;
    svg.append(el("text", { class: "tick", x: at, y: box.bottom + 18, "text-anchor": "middle" }, label));
    free = at + half;
  }
  svg.append(el("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    el("text", { class: "axis-label", x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle" }, spec.x.label),
    el("text", { class: "axis-label", transform: `translate(14,${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.y.label));
  rules.forEach((rule, i) => svg.append(el("line", { class: `rule rule-${i % 3}`, x1: box.left, x2: box.right, y1: y.place(rule.y), y2: y.place(rule.y) })));
  const spots = [];
  for (const one of series) {
    const group = el("g", { opacity: one.opacity ?? 1 });
    const placed = one.points.filter((p) => Number.isFinite(p.y) && Number.isFinite(p.x) && (!spec.x.log || p.x > 0)).map((p) => ({ ...p, px: x.place(p.at ?? p.x), py: y.place(p.y), one }));
    if (one.line !== false && placed.length > 1) group.append(el("path", { d: path(placed, one.steps), fill: "none", stroke: one.colour, "stroke-width": one.width ?? 2, "stroke-linejoin": "round", "stroke-dasharray": one.dash }));
    for (const p of placed) {
      if (p.bar) group.append(el("line", { x1: p.px, x2: p.px, y1: y.place(p.y - p.bar), y2: y.place(p.y + p.bar), stroke: one.colour, "stroke-width": 1.5 }));
      if (one.dots || placed.length === 1) group.append(el("path", { d: SHAPES[one.marker] ?? SHAPES.o, transform: `translate(${p.px},${p.py}) scale(${one.size ?? 1})`, fill: p.hollow ? "var(--card)" : one.colour, stroke: one.colour, "stroke-width": p.hollow ? 2 : 0 }));
    }
    svg.append(group);
    if (one.mute !== true) spots.push(...placed);
  }
  listen(svg, spec, spots, width, height);
  return svg;
}

function path(placed, steps) {
  return placed.map((p, i) => {
    if (!i) return `M${p.px.toFixed(1)},${p.py.toFixed(1)}`;
    if (steps === "after") return `H${p.px.toFixed(1)}V${p.py.toFixed(1)}`;
    return steps === "before" ? `V${p.py.toFixed(1)}H${p.px.toFixed(1)}` : `L${p.px.toFixed(1)},${p.py.toFixed(1)}`;
  }).join("");
}

function listen(svg, spec, spots, width, height) {
  const halo = el("circle", { r: 8, class: "halo", visibility: "hidden" });
  svg.append(halo);
  const order = [...spots].sort((a, b) => a.px - b.px || a.py - b.py);
  let current = null;
  const pick = (spot, rect) => {
    current = spot;
    halo.setAttribute("visibility", spot ? "visible" : "hidden");
    svg.style.cursor = spot?.meta && spec.onpick ? "pointer" : "default";
    if (!spot) return hideTip();
    halo.setAttribute("cx", spot.px);
    halo.setAttribute("cy", spot.py);
    showTip(rect.left + (spot.px * rect.width) / width, rect.top + (spot.py * rect.height) / height, spot.lines ?? [spot.one.name]);
  };
  svg.addEventListener("pointermove", (event) => {
    const rect = svg.getBoundingClientRect();
    const px = ((event.clientX - rect.left) * width) / rect.width, py = ((event.clientY - rect.top) * height) / rect.height;
    let nearest = null, least = 26 ** 2;
    for (const spot of spots) {
      const distance = (spot.px - px) ** 2 + (spot.py - py) ** 2;
      if (distance < least) [nearest, least] = [spot, distance];
    }
    pick(nearest, rect);
  });
  svg.addEventListener("pointerleave", () => pick(null));
  svg.addEventListener("blur", () => pick(null));
  svg.addEventListener("click", () => { if (current?.meta) spec.onpick?.(current.meta); });
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move && order.length) {
      event.preventDefault();
      pick(order[(order.indexOf(current) + move + order.length) % order.length], svg.getBoundingClientRect());
    } else if (event.key === "Enter" && current?.meta) spec.onpick?.(current.meta);
    else if (event.key === "Escape") pick(null);
  });
}

function legend(spec, hidden, draw) {
  const names = distinct(spec.series.filter((one) => one.legend !== false).map((one) => one.name));
  const keys = names.map((name) => {
    const one = spec.series.find((candidate) => candidate.name === name && candidate.legend !== false);
    const sample = el("svg", { width: 26, height: 12, viewBox: "0 0 26 12", "aria-hidden": "true" },
      one.line === false ? null : el("line", { x1: 1, x2: 25, y1: 6, y2: 6, stroke: one.colour, "stroke-width": 2.4, "stroke-dasharray": one.dash }),
      one.marker ? el("path", { d: SHAPES[one.marker] ?? SHAPES.o, transform: "translate(13,6)", fill: one.colour }) : null);
    const button = el("button", { type: "button", class: "key", "aria-pressed": "true", onclick: () => {
      hidden[hidden.has(name) ? "delete" : "add"](name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      draw();
    } }, sample, name);
    return button;
  });
  const rules = (spec.rules ?? []).filter((rule) => !missing(rule.y)).map((rule, i) => el("span", { class: "key" },
    el("svg", { width: 26, height: 12, "aria-hidden": "true" }, el("line", { class: `rule rule-${i % 3}`, x1: 1, x2: 25, y1: 6, y2: 6 })),
    `${rule.name} ${(spec.y.format ?? plain)(rule.y)}`));
  return el("div", { class: "legend" }, keys, rules);
}

/** The chart's numbers as a table, made when it is opened. */
function numbers(spec) {
  const holder = el("details", { class: "numbers" }, el("summary", {}, "Show the numbers"));
  holder.addEventListener("toggle", () => {
    if (!holder.open || holder.childElementCount > 1) return;
    const rows = spec.series.filter((one) => one.mute !== true).flatMap((one) => one.points.map((p) => [one.name, p.x, p.y])).slice(0, 600);
    holder.append(el("div", { class: "scroll" }, el("table", { class: "grid-table" },
      el("thead", {}, el("tr", {}, ["series", spec.x.label, spec.y.label].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map(([name, px, py]) => el("tr", {}, el("td", {}, name), el("td", { class: "n" }, plain(px)), el("td", { class: "n" }, plain(py))))))));
  });
  return holder;
}
