// Tables: sorted by their heads (buttons, aria-sort), drawn a page at a time so that thousands of rows stay quick.

/**
 * columns: [{key, label, hint, number, value(row), cell(row)}]. options: {page, sort: [key, down], onsort, caption, empty, rowClass(row)}
 * Returns an element with update(rows).
 */
function dataTable(columns, rows, options = {}) {
  let [key, down] = options.sort ?? [null, false];
  let shown = rows, limit = options.page ?? 100;
  const body = el("tbody"), head = el("tr"), more = el("div", { class: "more" });
  const valueOf = (column, row) => (column.value ? column.value(row) : row[column.key]);
  const heads = new Map(columns.map((column) => {
    const button = el("button", { type: "button", onclick: () => sort(column) }, column.label, el("span", { class: "arrow", "aria-hidden": "true" }));
    const cell = el("th", { scope: "col", class: column.number ? "n" : null, title: column.hint }, button);
    head.append(cell);
    return [column.key, cell];
  }));
  function sort(column) {
    // numbers begin with the greatest, words with the first
    if (key !== column.key) [key, down] = [column.key, Boolean(column.number)];
    else down = !down;
    options.onsort?.(key, down);
    draw();
  }
  function ordered() {
    const column = columns.find((one) => one.key === key);
    if (!column) return shown;
    const sign = down ? -1 : 1;
    const pairs = shown.map((row, i) => [valueOf(column, row), row, i]);
    pairs.sort(([a, , i], [b, , j]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b) || i - j; // what is missing comes last, either way
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })) || i - j;
    });
    return pairs.map(([, row]) => row);
  }
  function draw() {
    for (const [name, cell] of heads) cell.setAttribute("aria-sort", name === key ? (down ? "descending" : "ascending") : "none");
    const sorted = ordered();
    body.replaceChildren(...sorted.slice(0, limit).map((row) => el("tr", { class: options.rowClass?.(row) },
      columns.map((column) => el("td", { class: column.number ? "n" : null }, column.cell ? column.cell(row) : String(valueOf(column, row) ?? "–"))))));
    if (!sorted.length) body.append(el("tr", {}, el("td", { colspan: columns.length, class: "empty" }, options.empty ?? "Nothing here.")));
    more.replaceChildren();
    if (sorted.length > limit) more.append(`${limit} of ${sorted.length} rows. `,
      el("button", { type: "button", class: "quiet", onclick: () => { limit += 200; draw(); } }, "Show 200 more"),
      el("button", { type: "button", class: "quiet", onclick: () => { limit = Infinity; draw(); } }, "Show all"));
  }
  const table = el("table", { class: "grid-table" }, options.caption ? el("caption", {}, options.caption) : null, el("thead", {}, head), body);
  const holder = el("div", {}, el("div", { class: "scroll card" }, table), more);
  holder.update = (next) => { shown = next; limit = options.page ?? 100; draw(); };
  draw();
  return holder;
}

/** Let a ready-made table (a paper's) be sorted by the data-value of its cells. */
function makeSortable(table) {
  const row = [...table.tHead.rows].at(-1);
  const keep = [...table.tBodies[0].rows];
  [...row.cells].forEach((cell, at) => {
    const name = cell.textContent;
    cell.replaceChildren(el("button", { type: "button", onclick: () => {
      const down = cell.getAttribute("aria-sort") !== "descending";
      for (const other of row.cells) other.setAttribute("aria-sort", "none");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (line) => (line.cells[at].dataset.value === undefined ? null : Number(line.cells[at].dataset.value));
      const sorted = [...keep].sort((a, b) => {
        if (at === 0) return (down ? -1 : 1) * a.cells[0].textContent.localeCompare(b.cells[0].textContent, "en");
        const [one, other] = [value(a), value(b)];
        return missing(one) || missing(other) ? missing(one) - missing(other) : (down ? -1 : 1) * (one - other);
      });
      table.tBodies[0].append(...sorted);
    } }, name, el("span", { class: "arrow", "aria-hidden": "true" })));
  });
}
