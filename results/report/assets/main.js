// Which view is shown: the address after # says it. The theme: as the system has it, or as the reader chose.
const VIEWS = [
  ["", "Overview", overview], ["runs", "Runs", runsView], ["curves", "Learning curves", curvesView],
  ["sensitivity", "Sensitivity", sensitivityView], ["pareto", "Cost", paretoView], ["gates", "Gates", gatesView],
  ["tables", "Tables", held("tables", "Paper tables", "In the papers' own layout, published numbers beside ours; point at a cell for its runs. Below a table, every pair of its methods with its interval.")],
  ["audit", "Audit", held("audit", "Audit", "What the test sets behind quoted claims can carry, from published numbers alone.")],
  ["power", "Power", held("power", "Power", "What two single runs can show on a test set, in points; the noise between seeds comes on top.")],
];
const main = document.getElementById("main");
let turn = 0;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: decodeURIComponent(path), settings: Object.fromEntries(new URLSearchParams(query)) };
}
/** Above every view: runs that a script made up say so. */
function generatedNote() {
  const made = RUNS.filter((run) => run.generated).length;
  return made ? el("p", { class: "banner fixture" }, badge("fixture", "generated"), ` ${counted(made, "run")} of this ledger ${made === 1 ? "was" : "were"} written by a script: no model made ${made === 1 ? "its" : "their"} scores.`) : null;
}
async function show(focus) {
  const mine = ++turn;
  const { path, settings } = route();
  hideTip();
  const change = (next, quietly = false) => {
    const target = address(path, { ...route().settings, ...next });
    if (quietly) history.replaceState(null, "", target);
    else location.hash = target;
  };
  const view = VIEWS.find(([name]) => name === path)?.[2];
  for (const link of document.querySelectorAll("#nav a")) {
    const here = link.dataset.view === path || (path.startsWith("run/") && link.dataset.view === "runs");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let content;
  try {
    content = path.startsWith("run/") ? await runView(path.slice(4)) : await (view ?? overview)(settings, change);
  } catch (error) {
    console.error(error);
    content = [el("p", { class: "banner error" }, `This view could not be drawn: ${error.message}`)];
  }
  if (mine !== turn) return; // another view was asked for meanwhile
  main.replaceChildren(...[generatedNote(), ...content].flat(3).filter(Boolean));
  main.dataset.view = path;
  document.title = `${main.querySelector("h2")?.textContent ?? "Report"} · ${DATA.title}`;
  if (focus) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
}

const THEMES = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
function setTheme(theme, keep) {
  document.documentElement.dataset.theme = theme;
  themeButton.textContent = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[theme];
  themeButton.setAttribute("aria-label", `Theme: ${theme}. Change it`);
  try { if (keep) localStorage.setItem("theme", theme); } catch { /* pages from files may have no storage */ }
}
themeButton.addEventListener("click", () => {
  setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3], true);
  show(false);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(false));

let stored = "auto";
try { stored = localStorage.getItem("theme") ?? "auto"; } catch { /* as above */ }
setTheme(THEMES.includes(stored) ? stored : "auto", false);
document.getElementById("nav").append(...VIEWS.filter(([name]) => name !== "gates" || RUNS.some((run) => run.gates)).map(([name, text]) => el("a", { href: address(name), "data-view": name }, text)));
document.getElementById("foot").append(`${counted(COUNT, "run")} of ${DATA.ledger}, read ${DATA.made}. Scores are measured, in points, unless a cell says published. This page is one file and fetches nothing.`);
addEventListener("hashchange", () => show(true));
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement?.tagName)) {
    const search = main.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
});
show(false);
