// The first page: what the ledger holds, methods against tasks, paper tables, and what needs a look.
function overview(settings, change) {
  const real = RUNS.filter((run) => !run.fixture);
  const told = real.length ? real : RUNS; // what the counts of methods and tasks are of
  const kinds = (key) => distinct(told.map((run) => run[key])).length;
  const count = (test) => RUNS.filter(test).length;
  const seconds = RUNS.reduce((sum, run) => sum + (run.seconds ?? 0), 0);
  const cards = [
    [["finished run"], count((run) => run.done), address("runs", { status: "done" })],
    ["failed", count((run) => run.status === "failed"), address("runs", { status: "failed" })],
    ["with warnings", count((run) => run.level >= 2), address("runs", { level: "warning" })],
    [["fixture run"], count((run) => run.fixture), address("runs", { fixture: "only" })],
    [["method"], kinds("method"), null],
    [["task"], kinds("task"), null],
    ["time of runs", duration(seconds), null],
  ].map(([name, value, href]) => el(href ? "a" : "div", { class: "stat", href }, el("b", {}, String(value)), el("span", {}, Array.isArray(name) ? counted(value, name[0]).replace(/^\S+ /, "") : name)));
  return [
    el("div", { class: "stats" }, cards),
    COUNT && !real.length ? el("p", { class: "banner fixture" }, `Every run here was made on ${UNREAL}.`) : null,
    comparison(settings, change),
    ready("tables") ? el("p", {}, el("a", { href: address("tables") }, "Paper tables"), ": in the papers' own layout, published numbers beside ours, every pair tested.") : null,
    problems(),
  ];
}

function comparison(settings, change) {
  const finished = RUNS.filter((run) => run.done && !missing(run.score));
  const hasReal = finished.some((run) => !run.fixture);
  const asked = settings.fixtures ?? (DATA.fixtures ? "1" : "");
  const fixtures = asked === "1" || !hasReal;
  const pool = finished.filter((run) => fixtures || !run.fixture);
  if (!pool.length) return el("section", {}, el("h2", {}, "Methods and tasks"), el("p", { class: "card pad" }, "No finished run yet. ", el("code", {}, "make demo"), " makes some."));
  const groups = groupBy(pool, (run) => `${run.backbone} · ${DATA.panels[run.panel].protocol}`);
  const names = [...groups.keys()].sort((a, b) => groups.get(b).length - groups.get(a).length);
  const name = names.includes(settings.with) ? settings.with : names[0];
  const runs = groups.get(name);
  const tasks = distinct(runs.map((run) => run.task)).sort();
  const kinds = [...groupBy(runs, (run) => `${run.method}|${run.variant}`).values()].sort(([a], [b]) => byMethod(a.method, b.method) || a.variant.localeCompare(b.variant));
  const rows = kinds.map((own) => {
    const { method, variant } = own[0];
    const cells = new Map(tasks.map((task) => [task, cellOf(own.filter((run) => run.task === task), method)]));
    const chosen = own.filter((run) => run.chosen && run.parameters);
    return { method, variant, cells, parameters: chosen.length ? median(chosen.map((run) => run.parameters)) : null };
  });
  const range = new Map(tasks.map((task) => {
    const values = rows.map((row) => row.cells.get(task)?.score).filter((value) => !missing(value));
    return [task, [Math.min(...values), Math.max(...values)]];
  }));
  const columns = [
    { key: "method", label: "method", value: (row) => DATA.order.indexOf(row.method), cell: (row) => [methodName(row.method), row.variant ? el("small", { class: "faint" }, ` ${row.variant}`) : null] },
    { key: "parameters", label: "trainable", number: true, hint: "trainable parameters (median over the chosen runs)", value: (row) => row.parameters, cell: (row) => short(row.parameters) },
    ...tasks.map((task) => ({
      key: task, label: task, number: true, value: (row) => row.cells.get(task)?.score,
      hint: `${metricName(runs.find((run) => run.task === task).primary_metric)} on ${runs.find((run) => run.task === task).primary_split}, points`,
      cell: (row) => scoreCell(row, task, range.get(task)),
    })),
  ];
  const rules = [select("Backbone · protocol", name, names, (value) => change({ with: value }))];
  if (hasReal) rules.push(el("label", { class: "check" }, el("input", { type: "checkbox", checked: fixtures, onchange: (event) => change({ fixtures: event.target.checked ? "1" : "0" }) }), "with fixture runs"));
  return el("section", {}, el("h2", {}, "Methods and tasks"), el("div", { class: "controls" }, rules),
    dataTable(columns, rows, { caption: "Points: mean over seeds ± standard deviation, number of seeds below. Of several settings of a method, the one with the best validation mean is shown. A cell opens its runs." }));
}

/** Mean over the seeds of the grid point chosen on validation; baselines: the best of their settings. */
function cellOf(runs, method) {
  if (!runs.length) return null;
  const pool = runs.filter((run) => run.chosen);
  const settings = [...groupBy(pool.length ? pool : [], (run) => run.point).values()];
  if (!settings.length) return { score: null, runs, trials: distinct(runs.map((run) => run.point)).length };
  const best = BASELINES.has(method) ? settings.sort((a, b) => mean(b.map((r) => r.score)) - mean(a.map((r) => r.score)))[0] : settings[0];
  const scores = best.map((run) => run.score);
  return { score: mean(scores), spread: deviation(scores), n: scores.length, runs: best, trials: distinct(runs.map((run) => run.point)).length };
}
function scoreCell(row, task, [low, high]) {
  const cell = row.cells.get(task);
  if (!cell) return el("span", { class: "faint" }, "missing");
  if (missing(cell.score)) return el("span", { class: "faint", title: "several settings and no validation score to choose by" }, "not chosen");
  const share = high > low ? (cell.score - low) / (high - low) : 0;
  const { backbone, protocol } = cell.runs[0];
  const title = `${cell.runs.map((run) => run.id).join(", ")}; ${counted(cell.trials, "setting")} tried`;
  return el("a", { class: "score", title, style: `--share:${share.toFixed(3)}`, href: address("runs", { method: row.method, task, backbone, protocol }) },
    points(cell.score), cell.runs.some((run) => run.fixture) ? [" ", badge("fixture")] : null, el("small", {}, cell.spread === null ? `n=${cell.n}` : `±${points(cell.spread)} n=${cell.n}`));
}
function methodName(method) {
  return el("span", { class: "method" }, el("i", { style: `background:${colourOf(method)}` }), DATA.labels[method] ?? method);
}

/** Whether the page holds something under a name: paper tables, the audit, what test sets can show. */
const ready = (name) => document.getElementById(`held-${name}`).content.querySelector("table") !== null;
/** A view of ready-made tables. */
const held = (name, title, text) => () => {
  const content = document.getElementById(`held-${name}`).content.cloneNode(true);
  const tables = [...content.querySelectorAll("table.paper")];
  tables.forEach(makeSortable);
  return [el("section", { class: "papers" }, el("h2", {}, title), el("p", { class: "faint" }, text),
    tables.length ? content : el("p", { class: "card pad" }, "No run of a paper's table is on this page."))];
};

function problems() {
  const failed = RUNS.filter((run) => run.status === "failed");
  const reasons = [...groupBy(failed, (run) => run.reason.replace(/\d+/g, "…") || "no reason given").entries()].sort((a, b) => b[1].length - a[1].length);
  if (!failed.length && !DATA.problems.length) return null;
  return el("section", {}, el("h2", {}, "Needs a look"),
    el("div", { class: "card pad" },
      failed.length ? [el("h3", {}, `${failed.length} failed`), el("ul", { class: "plain" }, reasons.slice(0, 12).map(([reason, runs]) => el("li", {}, badge("error", `${runs.length}×`), " ", reason, " ", runs.slice(0, 4).map((run) => [runLink(run), " "]), runs.length > 4 ? el("a", { href: address("runs", { status: "failed" }) }, "all") : null)))] : null,
      DATA.problems.length ? [el("h3", {}, `${counted(DATA.problems.length, "folder")} could not be read`), el("ul", { class: "plain" }, DATA.problems.slice(0, 40).map((problem) => el("li", {}, problem)))] : null));
}
