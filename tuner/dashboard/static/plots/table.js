// The trial table: it holds only the rows around the visible ones; the server sorts and filters.

import * as filter from "./filter.js";

const ROW = 35; // pixels, as in plots.css with the border
const WINDOW = 100; // rows per request
const MOST_COMPARED = 8;
const ALL = 1000000; // the largest `top` that the server accepts
const study = Number(document.body.dataset.study);
const times = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });

const format = (cell, kind) => {
  if (cell === null || cell === undefined) return "–";
  if (kind === "time") return times.format(new Date(cell));
  if (typeof cell !== "number" || Number.isInteger(cell)) return String(cell);
  const size = Math.abs(cell);
  return size !== 0 && (size < 1e-4 || size >= 1e6) ? cell.toExponential(3) : Number(cell.toPrecision(4)).toString();
};
const createElement = (name, properties = {}, ...children) => {
  const result = Object.assign(document.createElement(name), properties);
  result.append(...children);
  return result;
};

class Table {
  constructor(root) {
    this.root = root;
    this.grid = root.querySelector(".grid");
    this.head = this.grid.querySelector("thead");
    this.body = root.querySelector("tbody.rows");
    this.before = root.querySelector("tbody.before td");
    this.after = root.querySelector("tbody.after td");
    this.isBest = root.dataset.table === "best"; // on the Analyse tab: always the best first
    this.windows = new Map(); // offset → rows, for the present address
    this.oldWindows = new Map(); // shown until the new ones have arrived
    this.columns = [];
    this.total = 0;
    this.compared = new Set((filter.get("compare") ?? "").split(",").filter(Boolean).map(Number));
    this.grid.addEventListener("scroll", () => this.render(), { passive: true });
    this.body.addEventListener("change", ({ target }) => this.toggleCompared(Number(target.value), target));
    root.querySelector("[data-columns]")?.addEventListener("change", () => this.chooseColumns());
    root.querySelector("[data-uncompare]")?.addEventListener("click", () => this.compare(new Set()));
    new ResizeObserver(() => this.render()).observe(this.grid);
  }

  get sort() {
    const name = this.isBest ? "value" : filter.get("sort") ?? "number";
    const descending = this.isBest ? this.root.dataset.direction === "maximize"
      : filter.get("descending") === null ? name === "number" : filter.get("descending") === "true";
    return { name, descending };
  }

  query(extra = {}) {
    const { name, descending } = this.sort;
    const query = new URLSearchParams(filter.query(null, { sort: name, descending, ...extra }));
    // a pruned or paused trial's last report is no result, and a trial that violates a constraint is not the best
    if (this.isBest && !filter.states().length && !query.has("top")) query.set("top", ALL);
    return query.toString();
  }

  async reset() {
    const key = this.query();
    if (key !== this.key) { this.grid.scrollTop = 0; this.windows = new Map(); this.key = key; }
    this.oldWindows = this.windows;
    this.windows = new Map();
    await this.fetch(Math.floor(this.grid.scrollTop / ROW / WINDOW) * WINDOW);
    this.showCompared();
  }

  async fetch(offset) {
    if (this.windows.has(offset)) return;
    this.windows.set(offset, null); // requested
    const key = this.query();
    try {
      const response = await fetch(`/api/v1/studies/${study}/table?${this.query({ offset, limit: WINDOW })}`);
      const payload = await response.json();
      if (key !== this.query()) return;
      if (!response.ok) { this.windows.delete(offset); this.showStatus(payload.error); return; }
      this.windows.set(offset, payload.rows);
      this.total = payload.total;
      this.version = payload.version;
      if (JSON.stringify(payload.columns) !== JSON.stringify(this.columns)) {
        this.columns = payload.columns;
        this.fillMenu();
      }
      this.showStatus(`${payload.total.toLocaleString()} trial${payload.total === 1 ? "" : "s"}`);
      this.render();
      this.root.dataset.drawn = payload.version;
    } catch {
      this.windows.delete(offset); // an event of the stream announces the server's return
    }
  }

  showStatus(text) { this.root.querySelector(".count").textContent = text; }

  get visible() {
    const hidden = new Set((filter.get("hide") ?? "started,attempt").split(","));
    return this.columns.map((column, i) => ({ ...column, i })).filter(({ name }) => !hidden.has(name));
  }

  fillMenu() {
    const menu = this.root.querySelector("[data-columns]");
    if (!menu) return;
    const visible = new Set(this.visible.map(({ name }) => name));
    menu.replaceChildren(...this.columns.map(({ name, title }) => createElement("label", {},
      createElement("input", { type: "checkbox", value: name, checked: visible.has(name) }), ` ${title}`)));
  }

  chooseColumns() {
    const boxes = [...this.root.querySelectorAll("[data-columns] input")];
    filter.set("hide", boxes.filter((box) => !box.checked).map((box) => box.value).join(",") || "none");
  }

  header() {
    const { name: sorted, descending } = this.sort;
    const cells = this.visible.map(({ name, title, kind }) => {
      const button = createElement("button", { type: "button", textContent: title });
      const cell = createElement("th", { scope: "col", className: kind === "number" ? "number" : "" }, this.isBest ? title : button);
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
    const choose = createElement("th", { scope: "col" }, createElement("span", { className: "visually-hidden", textContent: "compare" }));
    const signature = JSON.stringify([this.visible, sorted, descending]);
    if (signature !== this.signature) this.head.replaceChildren(createElement("tr", {}, ...(this.isBest ? [] : [choose]), ...cells));
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
      rows.push(this.row((window ?? this.oldWindows.get(offset))?.[i - offset] ?? null, i));
    }
    this.before.style.height = `${first * ROW}px`;
    this.after.style.height = `${Math.max(this.total - last, 0) * ROW}px`;
    this.body.replaceChildren(...rows);
    this.grid.querySelector("table").ariaRowCount = String(this.total + 1);
  }

  row(cells, index) {
    const number = cells?.[0];
    const columns = this.visible.map(({ i, kind, name }) => {
      const cell = createElement("td", { className: kind === "number" ? "number" : "" });
      if (!cells) cell.textContent = "…";
      else if (name === "number") cell.append(createElement("a", { href: `/studies/${study}/trials/${number}`, textContent: number }));
      else if (name === "state") cell.append(createElement("span", { className: `dot ${cells[i]}`, textContent: cells[i] }));
      else { cell.textContent = format(cells[i], kind); cell.title = cells[i] === null ? "" : String(cells[i]); }
      return cell;
    });
    const box = cells && createElement("input", { type: "checkbox", value: number, checked: this.compared.has(number), ariaLabel: `Compare trial ${number}` });
    return createElement("tr", { ariaRowIndex: String(index + 2) }, ...(this.isBest ? [] : [createElement("td", {}, box ?? "")]), ...columns);
  }

  toggleCompared(number, box) {
    const numbers = new Set(this.compared);
    if (box.checked) numbers.add(number); else numbers.delete(number);
    if (numbers.size > MOST_COMPARED) { box.checked = false; return; }
    this.compare(numbers);
  }

  compare(numbers) {
    this.compared = numbers;
    filter.set("compare", [...numbers].sort((a, b) => a - b).join(",") || null);
  }

  async showCompared() {
    const root = this.root.querySelector(".compared");
    if (!root) return;
    root.hidden = !this.compared.size;
    if (!this.compared.size) return;
    const query = new URLSearchParams([...this.compared].map((number) => ["number", number]));
    const response = await fetch(`/api/v1/studies/${study}/table?${query}`);
    if (!response.ok) return;
    const { rows, columns } = await response.json();
    const lines = columns.slice(1).map(({ title, kind }, i) => {
      const cells = rows.map((row) => format(row[i + 1], kind));
      return createElement("tr", { className: new Set(cells).size > 1 ? "differs" : "" },
        createElement("th", { scope: "row", textContent: title }), ...cells.map((textContent) => createElement("td", { textContent })));
    });
    root.querySelector("thead").replaceChildren(createElement("tr", {}, createElement("th", { textContent: "" }),
      ...rows.map(([number]) => createElement("th", { scope: "col", textContent: `trial ${number}` }))));
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
