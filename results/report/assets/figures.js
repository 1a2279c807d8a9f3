// Learning curves, sensitivity, Pareto and gates: one panel (task, backbone, protocol) at a time.
const panelName = (panel) => `${panel.task} · ${panel.backbone} · ${panel.protocol}${panel.fixture ? " (fixture)" : ""}`;

function panelPicker(settings, change, usable) {
  const open = DATA.panels.map((panel, i) => [i, panel]).filter(([i]) => RUNS.some((run) => run.panel === i && run.done && usable(run)));
  open.sort(([, a], [, b]) => a.fixture - b.fixture || panelName(a).localeCompare(panelName(b)));
  if (!open.length) return null;
  const asked = open.find(([, panel]) => panelName(panel) === settings.panel);
  const [number, panel] = asked ?? open[0];
  const runs = RUNS.filter((run) => run.panel === number && run.done);
  const box = select("Task · backbone · protocol", panelName(panel), open.map(([, one]) => panelName(one)), (value) => change({ panel: value }));
  return { number, panel, runs, box: panel.fixture ? [box, el("p", { class: "banner fixture mark" }, badge("fixture"), ` Runs on ${UNREAL}.`)] : box };
}
const trained = (run) => !BASELINES.has(run.method);
const openRun = (run) => { location.hash = address(`run/${run.id}`); };
const percentAxis = (label) => ({ label, format: (value) => plain(value, 4) });
const nothing = (what) => [el("section", {}, el("p", { class: "card pad" }, `No finished run with ${what} is on this page.`))];
const settingOf = (run) => [missing(run.rate) ? null : `lr ${plain(run.rate, 3)}`, missing(run.length) ? null : `length ${run.length}`].filter(Boolean).join(", ");
const describe = (run, ...lines) => [`${run.label} · seed ${run.seed}`, run.id, settingOf(run), ...lines].filter(Boolean);
const rulesOf = (panel, which) => panel[which].map(([name, y]) => ({ name, y: missing(y) ? null : 100 * y }));
const styleOf = (method) => ({ colour: colourOf(method), marker: DATA.markers[method] });
const provenance = (runs) => `From runs ${runs.slice(0, 6).map((run) => run.id.slice(0, 8)).join(", ")}${runs.length > 6 ? ` and ${runs.length - 6} more` : ""} of the ledger.`;

async function curvesView(settings, change) {
  const picked = panelPicker(settings, change, trained);
  if (!picked) return nothing("a learning curve");
  const { panel, box } = picked;
  const all = settings.points === "all";
  const pool = picked.runs.filter((run) => trained(run) && (all || run.chosen));
  const limit = 240;
  const runs = pool.slice(0, limit);
  const details = await Promise.all(runs.map(detailOf));
  const scores = [], losses = [];
  for (const [method, members] of [...groupBy(runs.map((run, i) => ({ run, detail: details[i] })), ({ run }) => run.method)].sort(([a], [b]) => byMethod(a, b))) {
    for (const group of groupBy(members, ({ run }) => run.point).values()) {
      const validation = group.map(({ run, detail }) => curvePoints(run, detail.curves.validation, 100));
      const training = group.map(({ run, detail }) => curvePoints(run, smoothed(detail.loss), 1));
      for (const [target, curves, dots] of [[scores, validation, true], [losses, training, false]]) {
        if (group.length > 1) for (const points of curves) target.push({ name: DATA.labels[method], ...styleOf(method), width: 1, opacity: 0.35, legend: false, points });
        target.push({ name: DATA.labels[method], ...styleOf(method), width: all ? 1.4 : 2.6, dots: dots && !all, points: group.length > 1 ? meanCurve(curves, group.map(({ run }) => run)) : curves[0] });
      }
    }
  }
  const metric = metricName(panel.metric);
  const cut = pool.length > limit ? ` The first ${limit} of ${pool.length} runs.` : "";
  const which = all ? "Every setting." : "Each method at its setting with the best validation mean.";
  return [el("section", {}, el("h2", {}, "Learning curves"),
    el("div", { class: "controls" }, box, select("Settings", all ? "all" : "best", [["best", "chosen on validation"], ["all", "all"]], (value) => change({ points: value === "all" ? "all" : "" }))),
    el("div", { class: "two" },
      chart({ title: `Validation ${metric}`, x: { label: "step", from: 0 }, y: percentAxis(`validation ${metric} (%)`), series: scores, rules: rulesOf(panel, "validation"), onpick: openRun, caption: `${which} Thin: a seed; thick: the mean over seeds; dashed: no training.${cut} ${provenance(runs)}` }),
      chart({ title: "Training loss", x: { label: "step", from: 0 }, y: { label: "loss (nats per target token)" }, series: losses, onpick: openRun, caption: "Exponential mean (0.7) of the logged losses of single batches." })))];
}
function curvePoints(run, pair, factor) {
  const [steps, values] = pair ?? [[], []];
  return steps.map((x, i) => ({ x, y: factor * values[i], meta: run, lines: describe(run, `step ${x}`, factor === 1 ? `loss ${plain(values[i])}` : `${points(values[i], 2)} %`) }));
}
/** Exponential mean with bias correction, as the printed figures have it. */
function smoothed([steps, values]) {
  let total = 0, weight = 0;
  return [steps, values.map((value) => { total = 0.7 * total + 0.3 * value; weight = 0.7 * weight + 0.3; return total / weight; })];
}
function meanCurve(curves, runs) {
  const drawn = curves.filter((curve) => curve.length);
  const found = groupBy(drawn.flat(), (point) => point.x);
  return [...found.entries()].filter(([, at]) => at.length === drawn.length).sort(([a], [b]) => a - b)
    .map(([x, at]) => ({ x, y: mean(at.map((p) => p.y)), lines: [`${runs[0].label}, mean of ${at.length} seeds`, settingOf(runs[0]), `step ${x}`, plain(mean(at.map((p) => p.y)))].filter(Boolean) }));
}

function sensitivityView(settings, change) {
  const picked = panelPicker(settings, change, (run) => trained(run) && !missing(run.score));
  if (!picked) return nothing("a score");
  const { panel, box } = picked;
  const runs = picked.runs.filter((run) => trained(run) && !missing(run.score));
  const metric = metricName(panel.metric), yAxis = percentAxis(`${panel.split} ${metric} (%)`);
  const against = (title, key, label) => {
    const tried = distinct(runs.map((run) => run[key]).filter((value) => value > 0)).sort((a, b) => a - b);
    if (!tried.length) return null;
    const series = [...groupBy(runs.filter((run) => run[key] > 0), (run) => run.method)].sort(([a], [b]) => byMethod(a, b)).flatMap(([method, members], number, methods) => {
      const nudge = 1.03 ** (number - (methods.length - 1) / 2); // methods at one value stand side by side
      const name = DATA.labels[method];
      const middles = [...groupBy(members, (run) => run[key])].sort(([a], [b]) => a - b).map(([x, at]) => ({ x, at: x * nudge, y: 100 * median(at.map((run) => run.score)), lines: [name, `median of ${at.length} runs`, points(median(at.map((run) => run.score)), 2)] }));
      return [{ name, ...styleOf(method), points: middles, width: 2, mute: true },
        { name, ...styleOf(method), legend: false, line: false, dots: true, opacity: 0.6, points: members.map((run) => ({ x: run[key], at: run[key] * nudge, y: 100 * run.score, meta: run, lines: describe(run, `${points(run.score, 2)} %`) })) }];
    });
    const spaced = tried.filter((value, i) => !i || value / tried[i - 1] > 1.6 || tried.length < 8);
    return chart({ title, x: { label, log: true, ticks: spaced, format: (value) => plain(value, 3) }, y: yAxis, series, rules: rulesOf(panel, "baselines"), onpick: openRun, caption: `Every dot a run (a seed); lines join the medians over all else that varied. ${provenance(runs)}` });
  };
  return [el("section", {}, el("h2", {}, "Sensitivity"), el("div", { class: "controls" }, box),
    el("div", { class: "two" }, against("Learning rate", "rate", "learning rate (log)"), against("Prompt length", "length", "prompt length (tokens, log)")),
    tuningTable(runs))];
}
/** What tuning buys: the median over the grid beside the point chosen on validation. */
function tuningTable(runs) {
  const rows = [...groupBy(runs, (run) => run.method)].sort(([a], [b]) => byMethod(a, b)).map(([method, members]) => {
    const settings = [...groupBy(members, (run) => run.point).values()].map((group) => mean(group.map((run) => run.score)));
    const chosen = members.filter((run) => run.chosen);
    return { method, trials: settings.length, runs: members.length, middle: median(settings), worst: Math.min(...settings), chosen: chosen.length ? mean(chosen.map((run) => run.score)) : null, setting: chosen.length ? settingOf(chosen[0]) : "–" };
  });
  const unequal = distinct(rows.map((row) => row.trials)).length > 1;
  const number = (key, label, hint) => ({ key, label, number: true, hint, cell: (row) => points(row[key]) });
  return dataTable([
    { key: "method", label: "method", value: (row) => DATA.order.indexOf(row.method), cell: (row) => methodName(row.method) },
    { key: "trials", label: "settings tried", number: true }, { key: "runs", label: "runs", number: true },
    number("worst", "worst"), number("middle", "median of the grid", "what an untuned user would get"), number("chosen", "chosen on validation"),
    { key: "gain", label: "gain", number: true, value: (row) => (missing(row.chosen) ? null : row.chosen - row.middle), cell: (row) => (missing(row.chosen) ? "–" : points(row.chosen - row.middle)) },
    { key: "setting", label: "chosen setting" },
  ], rows, { caption: `Median beside best, in points.${unequal ? " Methods had unequal numbers of trials." : ""}` });
}

const COSTS = { parameters: ["trainable parameters", true, false], train_speed: ["training speed (examples/s)", false, true], memory: ["peak memory (MiB)", false, false] };
function paretoView(settings, change) {
  const picked = panelPicker(settings, change, (run) => trained(run) && !missing(run.score));
  if (!picked) return nothing("a score");
  const { panel, box } = picked;
  const all = settings.points === "all";
  const scored = picked.runs.filter((run) => trained(run) && !missing(run.score));
  const charts = Object.entries(COSTS).map(([key, [label, log, more]]) => {
    const factor = key === "memory" ? 1 / 2 ** 20 : 1;
    // a packed run shares its pass with others: its speed and memory are not its own
    const usable = scored.filter((run) => (all || run.chosen) && run[key] > 0 && (key === "parameters" || !run.packed));
    const groups = [...groupBy(usable, (run) => run.point).values()].map((runs) => ({ runs, x: factor * mean(runs.map((run) => run[key])), y: 100 * mean(runs.map((run) => run.score)), bar: runs.length > 1 ? 100 * deviation(runs.map((run) => run.score)) : 0 }));
    const series = [...groupBy(groups, ({ runs }) => runs[0].method)].sort(([a], [b]) => byMethod(a, b)).map(([method, places]) => ({
      name: DATA.labels[method], ...styleOf(method), line: false, dots: true, size: 1.4,
      points: places.map(({ runs, x, y, bar }) => ({ x, y, bar, meta: runs[0], lines: [`${runs[0].label} · ${counted(runs.length, "seed")}`, settingOf(runs[0]), `${plain(y)} %`, `${label} ${short(x)}`, runs.slice(0, 3).map((run) => run.id.slice(0, 8)).join(" ")] })) }));
    series.unshift({ name: "Pareto front", colour: "var(--muted)", width: 1.2, mute: true, steps: more ? "before" : "after", points: paretoFront(groups, more) });
    return chart({ title: `Score against ${label.replace(/ \(.*/, "")}`, height: 300, x: { label: `${label} ${more ? "→ more is better" : "← less is better"}`, log, format: key === "memory" ? (value) => plain(value, 6) : short }, y: percentAxis(`${panel.split} ${metricName(panel.metric)} (%)`), series, onpick: openRun,
      caption: key === "parameters" ? `Bars: standard deviation over seeds. ${provenance(usable)}` : "Measured where the run ran: comparable only on the same machine. Packed runs are left out." });
  });
  return [el("section", {}, el("h2", {}, "Score against cost"), el("div", { class: "controls" }, box, select("Settings", all ? "all" : "best", [["best", "chosen on validation"], ["all", "all"]], (value) => change({ points: value === "all" ? "all" : "" }))), el("div", { class: "three" }, charts))];
}
function paretoFront(groups, more) {
  const sign = more ? -1 : 1;
  let best = -Infinity;
  const kept = [];
  for (const place of [...groups].sort((a, b) => sign * (a.x - b.x) || b.y - a.y)) if (place.y > best) { kept.push({ x: place.x, y: place.y }); best = place.y; }
  return kept.sort((a, b) => a.x - b.x);
}

async function gatesView(settings, change) {
  const picked = panelPicker(settings, change, (run) => run.gates);
  if (!picked) return nothing("gates (method APT)");
  const runs = picked.runs.filter((run) => run.gates).sort((a, b) => b.chosen - a.chosen);
  const run = runs.find((one) => one.id === settings.run) ?? runs[0];
  const { gates } = await detailOf(run);
  return [el("section", {}, el("h2", {}, "Gates"),
    el("div", { class: "controls" }, picked.box, select("Run", run.id, runs.map((one) => [one.id, `${one.id.slice(0, 10)} · seed ${one.seed} · ${settingOf(one)} · ${points(one.score)}`]), (value) => change({ run: value }))),
    heatMap(gates, `${run.label}: gate per layer and prefix token`, `Mean over the evaluated examples; bars: the layer's gate. Run ${run.id}.`))];
}
