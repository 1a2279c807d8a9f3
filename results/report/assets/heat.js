// APT's gates: one cell per layer and token, the layer gate beside it.
const CIVIDIS = [[0, 32, 76], [46, 70, 107], [87, 92, 109], [124, 123, 120], [165, 156, 116], [210, 194, 97], [255, 234, 70]];
function heatColour(value) {
  const place = Math.max(0, Math.min(1, value)) * (CIVIDIS.length - 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(place)), part = place - low;
  return `rgb(${CIVIDIS[low].map((c, i) => Math.round(c + (CIVIDIS[low + 1][i] - c) * part)).join(",")})`;
}

/** Heat map of {layers: [[gate per token] per layer], layer_gate: [...]}. */
function heatMap(gates, title, caption) {
  const layers = gates.layers.length, tokens = Math.max(...gates.layers.map((row) => row.length));
  const cell = Math.max(12, Math.min(22, 420 / layers)), left = 44, side = gates.layer_gate?.length ? 110 : 0;
  const width = 900, inner = width - left - side - 10, height = layers * cell + 52, wide = inner / tokens;
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart-svg heat", tabindex: 0,
    "aria-label": `${title}: gates of ${layers} layers and ${tokens} prefix tokens; arrow keys walk through the cells` });
  gates.layers.forEach((row, i) => {
    row.forEach((value, j) => svg.append(el("rect", { x: left + j * wide, y: 8 + i * cell, width: wide + 0.4, height: cell + 0.4, fill: heatColour(value) })));
    if (layers <= 16 || i % 2 === 0) svg.append(el("text", { class: "tick", x: left - 8, y: 8 + i * cell + cell / 2 + 4, "text-anchor": "end" }, i + 1));
    const gate = gates.layer_gate?.[i];
    if (!missing(gate)) {
      const most = Math.max(1, ...gates.layer_gate);
      svg.append(el("rect", { x: width - side + 8, y: 9 + i * cell, width: ((side - 18) * gate) / most, height: cell - 2, fill: colourOf("apt") }));
    }
  });
  for (const mark of ticks(1, tokens, 10)) svg.append(el("text", { class: "tick", x: left + (mark - 0.5) * wide, y: layers * cell + 26, "text-anchor": "middle" }, mark));
  svg.append(el("text", { class: "axis-label", x: left + inner / 2, y: height - 4, "text-anchor": "middle" }, "prefix token"),
    el("text", { class: "axis-label", transform: `translate(12,${8 + (layers * cell) / 2}) rotate(-90)`, "text-anchor": "middle" }, "layer"));
  if (side) svg.append(el("text", { class: "axis-label", x: width - side / 2, y: height - 4, "text-anchor": "middle" }, "layer gate"));
  const frame = el("rect", { class: "cell-frame", width: wide, height: cell, visibility: "hidden" });
  svg.append(frame);
  let at = [0, -1];
  const visit = (i, j) => {
    const value = gates.layers[i]?.[j];
    frame.setAttribute("visibility", missing(value) ? "hidden" : "visible");
    if (missing(value)) return hideTip();
    at = [i, j];
    frame.setAttribute("x", left + j * wide);
    frame.setAttribute("y", 8 + i * cell);
    const rect = svg.getBoundingClientRect(), ratio = rect.width / width;
    const gate = gates.layer_gate?.[i];
    showTip(rect.left + (left + (j + 1) * wide) * ratio, rect.top + (8 + (i + 1) * cell) * ratio,
      [`gate ${value.toFixed(3)}`, `layer ${i + 1}, token ${j + 1}`, missing(gate) ? null : `layer gate ${plain(gate, 3)}`].filter(Boolean));
  };
  svg.addEventListener("pointermove", (event) => {
    const rect = svg.getBoundingClientRect(), ratio = width / rect.width;
    visit(Math.floor(((event.clientY - rect.top) * ratio - 8) / cell), Math.floor(((event.clientX - rect.left) * ratio - left) / wide));
  });
  for (const leave of ["pointerleave", "blur"]) svg.addEventListener(leave, () => visit(-1, -1));
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    visit(Math.max(0, Math.min(layers - 1, at[0] + move[0])), Math.max(0, Math.min(tokens - 1, at[1] + move[1])));
  });
  const bar = el("div", { class: "ramp" }, "closed 0", el("span", { style: `background:linear-gradient(90deg,${CIVIDIS.map((c) => `rgb(${c})`).join(",")})` }), "1 open");
  return el("figure", { class: "card chart" }, el("h3", {}, title), svg, bar, caption ? el("figcaption", {}, caption) : null);
}
