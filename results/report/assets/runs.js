// All runs, filtered by words, by facets, and sorted; the address holds the filter, so that it can be shared.
const FACETS = ["status", "method", "task", "backbone", "protocol"];

function runsView(settings, change) {
  const wanted = (run) => FACETS.every((facet) => !settings[facet] || run[facet] === settings[facet])
    && (!settings.fixture || (settings.fixture === "only") === Boolean(run.fixture))
    && (!settings.level || run.level >= LEVELS.indexOf(settings.level))
    && words(settings.q ?? "").every((word) => text(run).includes(word));
  // a column that says the same in every row says nothing
  const columns = COLUMNS.filter((column) => !["backbone", "protocol"].includes(column.key) || DATA.factors[column.key].levels.length > 1);
  const table = dataTable(columns, RUNS.filter(wanted), {
    sort: settings.sort ? [settings.sort.replace(/^-/, ""), settings.sort.startsWith("-")] : ["score", true],
    onsort: (key, down) => change({ sort: (down ? "-" : "") + key }, true),
    empty: "No run passes this filter.",
    rowClass: (run) => (run.fixture ? "fixture" : null),
  });
  const tally = el("output", { class: "tally" });
  const refresh = () => {
    const found = RUNS.filter(wanted);
    tally.textContent = `${found.length} of ${COUNT} runs`;
    table.update(found);
  };
  const set = (facet) => (value) => { settings[facet] = value; change({ [facet]: value }, true); refresh(); };
  const search = el("input", { type: "search", placeholder: "id, method, task, reason …  or length:60 seed:2", value: settings.q ?? "", "aria-label": "Filter runs by words",
    oninput: () => set("q")(search.value) });
  const choices = FACETS.map((facet) => select(facet, settings[facet] ?? "", [["", "all"], ...DATA.factors[facet].levels.map((level) => [level, facet === "method" ? DATA.labels[level] ?? level : level])], set(facet)));
  choices.push(select("verdict", settings.level ?? "", [["", "all"], ["note", "note or worse"], ["warning", "warning or worse"], ["error", "error"]], set("level")));
  choices.push(select("fixture runs", settings.fixture ?? "", [["", "with"], ["without", "without"], ["only", "only"]], set("fixture")));
  refresh();
  return [el("section", {}, el("h2", {}, "Runs"), el("div", { class: "controls" }, el("label", { class: "field grow" }, el("span", {}, "Filter"), search), choices), tally, table)];
}

const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);
const texts = new Map();
/** What the filter's words are looked for in: the facets' values, and `key:value` of the numbers that one asks for. */
function text(run) {
  if (!texts.has(run.i)) texts.set(run.i, [run.id, run.label, run.method, run.task, run.backbone, run.protocol, run.status, run.reason, run.experiment,
    `seed:${run.seed} `, `rate:${run.rate} `, `lr:${run.rate} `, `length:${run.length} `, run.fixture ? "fixture" : "", run.packed ? "packed" : ""].join(" ").toLowerCase());
  return texts.get(run.i);
}
const statusBadge = (run) => badge({ done: "ok", failed: "error" }[run.status] ?? "note", run.status);

const COLUMNS = [
  { key: "id", label: "run", cell: (run) => [runLink(run), run.fixture ? [" ", badge("fixture")] : null, run.generated ? [" ", badge("fixture", "generated")] : null] },
  { key: "status", label: "status", cell: statusBadge },
  { key: "method", label: "method", value: (run) => run.label, cell: (run) => methodName(run.method) },
  { key: "task", label: "task" },
  { key: "backbone", label: "backbone" },
  { key: "protocol", label: "protocol" },
  { key: "seed", label: "seed", number: true },
  { key: "rate", label: "lr", number: true, hint: "learning rate of the prompt, or of the method's only group", cell: (run) => plain(run.rate, 3) },
  { key: "length", label: "length", number: true, hint: "prompt length, tokens" },
  { key: "score", label: "score", number: true, hint: "reported metric on the reported split, points", cell: (run) => el("b", { title: `${metricName(run.primary_metric)} on ${run.primary_split}` }, points(run.score)) },
  { key: "validation", label: "validation", number: true, hint: "the same metric on validation, points", cell: (run) => points(run.validation) },
  { key: "untrained", label: "untrained", number: true, hint: "before the first step, points", cell: (run) => points(run.untrained) },
  { key: "parameters", label: "trainable", number: true, cell: (run) => short(run.parameters) },
  { key: "steps", label: "steps", number: true },
  { key: "train_speed", label: "ex/s", number: true, hint: "training examples per second", cell: (run) => (run.packed ? el("span", { title: "packed: not its own speed" }, "packed") : plain(run.train_speed, 3)) },
  { key: "memory", label: "memory", number: true, cell: (run) => bytes(run.memory) },
  { key: "seconds", label: "time", number: true, cell: (run) => duration(run.seconds) },
  { key: "level", label: "verdict", hint: "the worst of the guard rails' verdicts", cell: (run) => (run.level < 0 ? "–" : badge(LEVELS[run.level])) },
];
