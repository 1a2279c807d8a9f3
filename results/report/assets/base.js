// Data, formatting and small helpers. Text of the ledger reaches the page as text nodes only, never as markup.
const DATA = JSON.parse(document.getElementById("index").textContent);
const COUNT = DATA.columns.id.length;
const LEVELS = ["ok", "note", "warning", "error"];
const BASELINES = new Set(DATA.baselines);

/** The run at a place of the index, as an object with the factors' names filled in. */
function makeRun(i) {
  const run = { i };
  for (const [name, column] of Object.entries(DATA.columns)) run[name] = column[i];
  for (const [name, factor] of Object.entries(DATA.factors)) run[name] = factor.levels[factor.codes[i]];
  run.label = DATA.labels[run.method] ?? run.method;
  run.done = run.status === "done";
  return run;
}
const RUNS = Array.from({ length: COUNT }, (_, i) => makeRun(i));
const BY_ID = new Map(RUNS.map((run) => [run.id, run]));

/** An element: el("td", {class: "n", onclick: f}, "text", child, [children]). */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const unpacked = new Map();
/** A block of details: base64 of gzipped JSON in a script element, unpacked once. */
function block(number) {
  if (!unpacked.has(number)) {
    const packed = Uint8Array.from(atob(document.getElementById(`block-${number}`).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    unpacked.set(number, new Response(stream).json());
  }
  return unpacked.get(number);
}
async function detailOf(run) {
  const { shared, runs } = await block(run.block);
  const own = runs[run.place];
  return { ...own, options: { ...shared, ...own.options } };
}

const missing = (value) => value === null || value === undefined || Number.isNaN(value);
const points = (value, digits = 1) => (missing(value) ? "–" : (100 * value).toFixed(digits));
function plain(value, digits = 4) {
  if (missing(value)) return "–";
  const rounded = Number(value.toPrecision(digits));
  return rounded && Math.abs(rounded) < 1e-4 ? rounded.toExponential() : String(rounded);
}
function short(value) {
  if (missing(value)) return "–";
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${unit}`;
  return plain(value, 3);
}
const bytes = (value) => (missing(value) ? "–" : value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(2)} GiB` : `${Math.round(value / 2 ** 20)} MiB`);
function duration(seconds) {
  if (missing(seconds)) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
/** A number with its noun: 1 method, 3 methods. */
const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const UNREAL = "fixture rows or random weights: it shows that the code runs, and no score means anything";
const metricName = (metric) => metric.replaceAll("_", " ");
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
const distinct = (values) => [...new Set(values)];
function groupBy(items, key) {
  const found = new Map();
  for (const item of items) {
    const name = key(item);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(item);
  }
  return found;
}
const byMethod = (a, b) => DATA.order.indexOf(a) - DATA.order.indexOf(b);

const isDark = () => document.documentElement.dataset.theme === "dark"
  || (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
/** The method's colour, brought nearer to white on a dark ground. */
function colourOf(method) {
  const base = DATA.colours[method] ?? "#687078";
  if (!isDark()) return base;
  const part = [1, 3, 5].map((at) => parseInt(base.slice(at, at + 2), 16));
  const light = (0.3 * part[0] + 0.6 * part[1] + 0.1 * part[2]) / 255;
  const mix = light < 0.2 ? 0.75 : light < 0.45 ? 0.35 : 0.15;
  return `rgb(${part.map((value) => Math.round(value + (255 - value) * mix)).join(",")})`;
}

/** Address of a view with its settings: #/runs?method=pt. */
function address(view, settings = {}) {
  const query = new URLSearchParams(Object.entries(settings).filter(([, value]) => value !== "" && !missing(value)));
  return `#/${view}${query.size ? `?${query}` : ""}`;
}
const runLink = (run) => el("a", { href: address(`run/${run.id}`), class: "mono" }, run.id.slice(0, 10));
function badge(level, text) {
  return el("span", { class: `badge ${level}` }, text ?? level);
}
/** A labelled select; `options` are values or [value, text] pairs. */
function select(label, value, options, onchange) {
  const made = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const box = el("select", { onchange: () => onchange(box.value), "aria-label": label },
    made.map(([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text)));
  return el("label", { class: "field" }, el("span", {}, label), box);
}
