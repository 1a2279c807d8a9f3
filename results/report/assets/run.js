// The page of one run.
async function runView(id) {
  const run = BY_ID.get(id) ?? RUNS.find((one) => one.id.startsWith(id));
  if (!run) return [el("section", {}, el("h2", {}, "No such run"), el("p", { class: "card pad" }, `${id} is not on this page. `, el("a", { href: "#/runs" }, "All runs")))];
  const detail = await detailOf(run);
  return [
    el("section", { class: "run" },
      el("p", { class: "crumbs" }, el("a", { href: "#/runs" }, "Runs"), " / ", el("span", { class: "mono" }, run.id)),
      el("h2", {}, methodName(run.method), ` on ${run.task}`),
      el("p", { class: "tags" }, statusBadge(run), run.fixture ? badge("fixture", "fixture: no scientific value") : null, run.generated ? badge("fixture", "generated: no model made its score") : null, run.packed ? badge("note", "packed") : null, run.chosen && trained(run) ? badge("ok", "chosen on validation") : null),
      run.reason ? el("p", { class: `banner ${run.status === "failed" ? "error" : "note"}` }, run.reason) : null,
      facts(run), siblings(run)),
    verdictList(detail), runCharts(run, detail), metricTable(run, detail), errorSample(detail),
    el("div", { class: "two" }, keyValues("Configuration", detail.options, true), el("div", {}, keyValues("Provenance", { ...flat(detail.versions), ...flat({ data: detail.data }) }), keyValues("Also recorded", flat(detail.more)))),
  ];
}

function standardError(run) {
  if (!missing(run.error)) return ` ± ${points(run.error, 1)} (se)`;
  return run.score === 1 || run.score === 0 ? " (all answers alike: no standard error can be estimated)" : "";
}
function facts(run) {
  const rows = [
    [`${metricName(run.primary_metric)} on ${run.primary_split}`, points(run.score, 2) + standardError(run)], ["validation", points(run.validation, 2)], ["untrained", points(run.untrained, 2)],
    ["backbone", run.backbone], ["protocol", run.protocol], ["seed", String(run.seed ?? "–")], ["steps", `${run.steps ?? "–"}${missing(run.selected) ? "" : ` (kept: ${run.selected})`}`], ["trainable", missing(run.parameters) ? "–" : run.parameters.toLocaleString("en")],
    ["training", missing(run.train_speed) ? "–" : `${plain(run.train_speed, 3)} ex/s`], ["evaluation", missing(run.eval_speed) ? "–" : `${plain(run.eval_speed, 3)} ex/s`], ["peak memory", bytes(run.memory)], ["time", duration(run.seconds)],
  ];
  return el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
function siblings(run) {
  const others = RUNS.filter((one) => one.point === run.point && one.id !== run.id);
  return others.length ? el("p", { class: "faint" }, "Other seeds of the same setting: ", others.slice(0, 12).map((one) => [runLink(one), ` (seed ${one.seed}, ${one.done ? points(one.score) : one.status}) `])) : null;
}
function verdictList(detail) {
  if (!detail.verdicts.length) return null;
  const order = [...detail.verdicts].sort((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level));
  return el("section", {}, el("h3", {}, "Verdicts"), el("ul", { class: "verdicts card" }, order.map((one) => el("li", { class: LEVELS.includes(one.level) ? one.level : "note" }, badge(LEVELS.includes(one.level) ? one.level : "note", one.level), el("b", {}, one.name), el("span", {}, one.message)))));
}
function runCharts(run, detail) {
  const panel = DATA.panels[run.panel];
  const dashes = [null, "6 3", "2 3"];
  const series = Object.entries(detail.curves).filter(([, pair]) => pair[0].length).map(([split, pair], i) => ({ name: split, ...styleOf(run.method), dash: dashes[i % 3], dots: true, points: pair[0].map((x, j) => ({ x, y: 100 * pair[1][j], lines: [`${points(pair[1][j], 2)} %`, `${split}, step ${x}`] })) }));
  const loss = (pair, extra) => ({ colour: colourOf(run.method), points: pair[0].map((x, j) => ({ x, y: pair[1][j], lines: [`loss ${plain(pair[1][j])}`, `step ${x}`] })), ...extra });
  const charts = [];
  if (series.length) charts.push(chart({ title: metricName(run.primary_metric), height: 260, x: { label: "step", from: 0 }, y: percentAxis(`${metricName(run.primary_metric)} (%)`), series, rules: rulesOf(panel, "validation").filter((rule) => rule.name !== "untrained prompt") }));
  if (detail.loss[0].length) charts.push(chart({ title: "Training loss", height: 260, x: { label: "step", from: 0 }, y: { label: "loss (nats per target token)" }, series: [loss(detail.loss, { name: "logged", width: 1, opacity: 0.5 }), loss(smoothed(detail.loss), { name: "exponential mean", width: 2.4, mute: true })] }));
  return [charts.length ? el("div", { class: charts.length > 1 ? "two" : "one" }, charts) : null, detail.gates ? heatMap(detail.gates, "Gate per layer and prefix token", null) : detail.gates_left_out ? el("p", { class: "faint" }, "So many runs have gates that only those of the runs chosen on validation are on this page; this run's are in its folder, diagnostics/gates.json.") : null];
}
function metricTable(run, detail) {
  const splits = distinct([...Object.keys(detail.metrics), ...Object.keys(detail.untrained)]);
  const rows = splits.flatMap((split) => distinct([...Object.keys(detail.metrics[split] ?? {}), ...Object.keys(detail.untrained[split] ?? {})]).map((name) => ({ split, name, value: detail.metrics[split]?.[name], untrained: detail.untrained[split]?.[name] })));
  if (!rows.length) return null;
  return el("section", {}, el("h3", {}, "Metrics"), dataTable([
    { key: "split", label: "split" }, { key: "name", label: "metric", cell: (row) => [metricName(row.name), row.split === run.primary_split && row.name === run.primary_metric ? [" ", badge("ok", "reported")] : null] },
    { key: "value", label: "points", number: true, cell: (row) => points(row.value, 2) }, { key: "untrained", label: "untrained", number: true, cell: (row) => points(row.untrained, 2) },
    { key: "gain", label: "gain", number: true, value: (row) => row.value - row.untrained, cell: (row) => (missing(row.value) || missing(row.untrained) ? "–" : points(row.value - row.untrained, 2)) },
  ], rows));
}
function errorSample(detail) {
  const found = detail.errors;
  if (!found) return null;
  const head = found.numeric ? `Largest differences (${found.split})` : `A sample of its errors (${found.split})`;
  const seen = `${found.wrong} of ${found.capped ? "the first " : ""}${found.rows} predictions differ from their reference.`;
  const withText = found.sample.some(([, , , text]) => text);
  return el("section", {}, el("h3", {}, head), el("p", { class: "faint" }, seen), el("div", { class: found.confusion ? "two uneven" : "one" },
    dataTable([
      { key: "id", label: "example", value: (row) => row[0] }, ...(withText ? [{ key: "text", label: "text", value: (row) => row[3] }] : []),
      { key: "prediction", label: "prediction", value: (row) => row[1], cell: (row) => el("span", { class: "wrong" }, row[1] || "(empty)") }, { key: "reference", label: "reference", value: (row) => row[2] },
    ], found.sample, { empty: "No prediction differs." }), found.confusion ? confusionTable(found.confusion) : null));
}
function confusionTable({ labels, counts, elsewhere }) {
  const most = Math.max(1, ...counts.flat());
  return el("div", { class: "scroll card" }, el("table", { class: "grid-table confusion" },
    el("caption", {}, `Reference (rows) against prediction (columns)${elsewhere ? `; ${elsewhere} predictions are none of these` : ""}.`),
    el("thead", {}, el("tr", {}, el("td", {}), labels.map((label) => el("th", { scope: "col" }, label)))),
    el("tbody", {}, labels.map((label, i) => el("tr", {}, el("th", { scope: "row" }, label), counts[i].map((count) => el("td", { class: "n shade", style: `--share:${(count / most).toFixed(3)}` }, String(count))))))));
}

/** Nested values as dotted keys. */
function flat(tree, prefix = "") {
  return Object.entries(tree ?? {}).reduce((found, [key, value]) => Object.assign(found, value && typeof value === "object" && !Array.isArray(value) ? flat(value, `${prefix}${key}.`) : { [prefix + key]: value }), {});
}
function keyValues(title, values, filter = false) {
  const entries = Object.entries(values).sort(([a], [b]) => a.localeCompare(b));
  if (!entries.length) return null;
  const body = el("tbody");
  const draw = (word) => body.replaceChildren(...entries.filter(([key]) => key.toLowerCase().includes(word)).map(([key, value]) => el("tr", {}, el("th", { scope: "row" }, key), el("td", { class: "mono" }, typeof value === "string" ? value : JSON.stringify(value)))));
  draw("");
  const search = filter && entries.length > 12 ? el("input", { type: "search", placeholder: "filter keys", "aria-label": `Filter ${title}`, oninput: (event) => draw(event.target.value.toLowerCase()) }) : null;
  return el("section", {}, el("div", { class: "controls" }, el("h3", {}, title), search), el("div", { class: "scroll card" }, el("table", { class: "pairs" }, body)));
}
