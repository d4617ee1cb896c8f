// The table of trials: rows around what is seen, of as many as there are; sorted and filtered by the
// server.

import * as filter from "./filter.js";

const ROW = 35; // pixels, as in plots.css with the border
const WINDOW = 100; // rows of one request
const MOST_COMPARED = 8;
const EVERY = 1000000; // the most that may be asked for as the best
const study = Number(document.body.dataset.study);
const times = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });

const shown = (cell, kind) => {
  if (cell === null || cell === undefined) return "–";
  if (kind === "time") return times.format(new Date(cell));
  if (typeof cell !== "number" || Number.isInteger(cell)) return String(cell);
  const size = Math.abs(cell);
  return size !== 0 && (size < 1e-4 || size >= 1e6) ? cell.toExponential(3) : Number(cell.toPrecision(4)).toString();
};
const element = (name, more = {}, ...inside) => {
  const made = Object.assign(document.createElement(name), more);
  made.append(...inside);
  return made;
};

class Table {
  constructor(root) {
    this.root = root;
    this.grid = root.querySelector(".grid");
    this.head = this.grid.querySelector("thead");
    this.body = root.querySelector("tbody.rows");
    this.before = root.querySelector("tbody.before td");
    this.after = root.querySelector("tbody.after td");
    this.top = root.dataset.table === "best"; // of the Analyse tab: the best ones first, always
    this.windows = new Map(); // offset → rows, of what the address says now
    this.old = new Map(); // those that are shown until what is new has come
    this.columns = [];
    this.total = 0;
    this.compared = new Set((filter.get("compare") ?? "").split(",").filter(Boolean).map(Number));
    this.grid.addEventListener("scroll", () => this.render(), { passive: true });
    this.body.addEventListener("change", ({ target }) => this.choose(Number(target.value), target));
    root.querySelector("[data-columns]")?.addEventListener("change", () => this.chooseColumns());
    root.querySelector("[data-uncompare]")?.addEventListener("click", () => this.compare(new Set()));
    new ResizeObserver(() => this.render()).observe(this.grid);
  }

  get sort() {
    const name = this.top ? "value" : filter.get("sort") ?? "number";
    const descending = this.top ? this.root.dataset.direction === "maximize"
      : filter.get("descending") === null ? name === "number" : filter.get("descending") === "true";
    return { name, descending };
  }

  query(extra = {}) {
    const { name, descending } = this.sort;
    const query = new URLSearchParams(filter.query(null, { sort: name, descending, ...extra }));
    // a pruned trial's last report is no result, and who violates a constraint is not the best
    if (this.top && !filter.states().length && !query.has("top")) query.set("top", EVERY);
    return query.toString();
  }

  async reset() {
    const key = this.query();
    if (key !== this.key) { this.grid.scrollTop = 0; this.windows = new Map(); this.key = key; }
    this.old = this.windows;
    this.windows = new Map();
    await this.fetch(Math.floor(this.grid.scrollTop / ROW / WINDOW) * WINDOW);
    this.showCompared();
  }

  async fetch(offset) {
    if (this.windows.has(offset)) return;
    this.windows.set(offset, null); // under way
    const key = this.query();
    try {
      const answer = await fetch(`/api/v1/studies/${study}/table?${this.query({ offset, limit: WINDOW })}`);
      const found = await answer.json();
      if (key !== this.query()) return;
      if (!answer.ok) { this.windows.delete(offset); this.say(found.error); return; }
      this.windows.set(offset, found.rows);
      this.total = found.total;
      this.version = found.version;
      if (JSON.stringify(found.columns) !== JSON.stringify(this.columns)) {
        this.columns = found.columns;
        this.menu();
      }
      this.say(`${found.total.toLocaleString()} trial${found.total === 1 ? "" : "s"}`);
      this.render();
      this.root.dataset.drawn = found.version;
    } catch {
      this.windows.delete(offset); // the stream tells when the server is back
    }
  }

  say(text) { this.root.querySelector(".count").textContent = text; }

  get visible() {
    const hidden = new Set((filter.get("hide") ?? "started,attempt").split(","));
    return this.columns.map((column, i) => ({ ...column, i })).filter(({ name }) => !hidden.has(name));
  }

  menu() {
    const menu = this.root.querySelector("[data-columns]");
    if (!menu) return;
    const chosen = new Set(this.visible.map(({ name }) => name));
    menu.replaceChildren(...this.columns.map(({ name, title }) => element("label", {},
      element("input", { type: "checkbox", value: name, checked: chosen.has(name) }), ` ${title}`)));
  }

  chooseColumns() {
    const boxes = [...this.root.querySelectorAll("[data-columns] input")];
    filter.set("hide", boxes.filter((box) => !box.checked).map((box) => box.value).join(",") || "none");
  }

  header() {
    const { name: sorted, descending } = this.sort;
    const cells = this.visible.map(({ name, title, kind }) => {
      const button = element("button", { type: "button", textContent: title });
      const cell = element("th", { scope: "col", className: kind === "number" ? "number" : "" }, this.top ? title : button);
      if (name === sorted) cell.ariaSort = descending ? "descending" : "ascending";
      button.addEventListener("click", () => {
        const down = name === sorted ? !descending : kind === "number" && name !== "number";
        const changed = new URLSearchParams(location.search);
        changed.set("sort", name);
        changed.set("descending", String(down));
        history.replaceState(null, "", `?${changed}`);
        document.dispatchEvent(new CustomEvent("tuner:filter"));
      });
      return cell;
    });
    const choose = element("th", { scope: "col" }, element("span", { className: "visually-hidden", textContent: "compare" }));
    const signature = JSON.stringify([this.visible, sorted, descending]);
    if (signature !== this.signature) this.head.replaceChildren(element("tr", {}, ...(this.top ? [] : [choose]), ...cells));
    this.signature = signature;
  }

  render() {
    if (!this.columns.length) return;
    this.header();
    const height = this.grid.clientHeight || 400;
    const first = Math.max(Math.floor(this.grid.scrollTop / ROW) - 10, 0);
    const last = Math.min(Math.ceil((this.grid.scrollTop + height) / ROW) + 10, this.total);
    const rows = [];
    for (let i = first; i < last; i += 1) {
      const offset = Math.floor(i / WINDOW) * WINDOW, window = this.windows.get(offset);
      if (window === undefined) this.fetch(offset);
      rows.push(this.row((window ?? this.old.get(offset))?.[i - offset] ?? null, i));
    }
    this.before.style.height = `${first * ROW}px`;
    this.after.style.height = `${Math.max(this.total - last, 0) * ROW}px`;
    this.body.replaceChildren(...rows);
    this.grid.querySelector("table").ariaRowCount = String(this.total + 1);
  }

  row(cells, index) {
    const number = cells?.[0];
    const made = this.visible.map(({ i, kind, name }) => {
      const cell = element("td", { className: kind === "number" ? "number" : "" });
      if (!cells) cell.textContent = "…";
      else if (name === "number") cell.append(element("a", { href: `/studies/${study}/trials/${number}`, textContent: number }));
      else if (name === "state") cell.append(element("span", { className: `dot ${cells[i]}`, textContent: cells[i] }));
      else { cell.textContent = shown(cells[i], kind); cell.title = cells[i] === null ? "" : String(cells[i]); }
      return cell;
    });
    const box = cells && element("input", { type: "checkbox", value: number, checked: this.compared.has(number), ariaLabel: `Compare trial ${number}` });
    return element("tr", { ariaRowIndex: String(index + 2) }, ...(this.top ? [] : [element("td", {}, box ?? "")]), ...made);
  }

  choose(number, box) {
    const chosen = new Set(this.compared);
    if (box.checked) chosen.add(number); else chosen.delete(number);
    if (chosen.size > MOST_COMPARED) { box.checked = false; return; }
    this.compare(chosen);
  }

  compare(chosen) {
    this.compared = chosen;
    filter.set("compare", [...chosen].sort((a, b) => a - b).join(",") || null);
  }

  async showCompared() {
    const root = this.root.querySelector(".compared");
    if (!root) return;
    root.hidden = !this.compared.size;
    if (!this.compared.size) return;
    const query = new URLSearchParams([...this.compared].map((number) => ["number", number]));
    const answer = await fetch(`/api/v1/studies/${study}/table?${query}`);
    if (!answer.ok) return;
    const { rows, columns } = await answer.json();
    const lines = columns.slice(1).map(({ title, kind }, i) => {
      const cells = rows.map((row) => shown(row[i + 1], kind));
      return element("tr", { className: new Set(cells).size > 1 ? "differs" : "" },
        element("th", { scope: "row", textContent: title }), ...cells.map((textContent) => element("td", { textContent })));
    });
    root.querySelector("thead").replaceChildren(element("tr", {}, element("th", { textContent: "" }),
      ...rows.map(([number]) => element("th", { scope: "col", textContent: `trial ${number}` }))));
    root.querySelector("tbody").replaceChildren(...lines);
  }
}

for (const root of document.querySelectorAll("[data-table]")) {
  const table = new Table(root);
  table.reset();
  let timer = null;
  const later = () => { timer ??= setTimeout(() => { timer = null; if (!document.hidden) table.reset(); }, 1500); };
  document.addEventListener("tuner:filter", () => table.reset());
  document.addEventListener("tuner:trials", ({ detail }) => { if (detail.study === study) later(); });
  document.addEventListener("tuner:resync", later);
  document.addEventListener("visibilitychange", later);
  document.addEventListener("tuner:hello", ({ detail }) => { if (table.version !== detail.versions[study]) later(); });
}
