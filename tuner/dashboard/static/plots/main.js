// The figures of a page: each requests the trials that pass the filter when it becomes visible, and
// again when they change.
/* global Plotly */

import * as brush from "./brush.js";
import { clear, colour, draw } from "./draw.js";
import * as filter from "./filter.js";
import { Tail } from "./tail.js";

const study = Number(document.body.dataset.study);
const BRUSHED = new Set(["history", "parallel", "slices", "rank", "contour", "heat", "edf", "pareto"]);
const SLOW = new Set(["importance", "parallel", "slices", "rank", "contour", "heat"]); // need importance
const PLANES = new Set(["rank", "contour", "heat"]);
// ms between whole figures while trials keep coming; new marks of the history appear at once
const INTERVALS = { history: 15000, curves: 3000, burndown: 5000, timeline: 5000 }, DEFAULT_INTERVAL = 15000;
const MIN_DELAY = 1000; // ms between a change and the next whole figure
const IDLE = 15; // times the duration of the last drawing: the page stays usable while trials keep coming
const RATE = 1; // bytes per ms that a figure may load while trials keep coming
const isAnalysis = document.body.querySelector("[data-analyse]") !== null;

// One after the other: the first figure arrives before the server starts on the second, and is painted
// before the page draws the second.
const createQueue = (pause) => {
  let previous = Promise.resolve();
  return (task) => {
    const result = previous.then(task);
    previous = result.catch(() => {}).then(pause);
    return result;
  };
};
const enqueueRequest = createQueue(() => {});
const enqueueDrawing = createQueue(() => new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
  setTimeout(resolve, 200); // a page in the background has no frames
}));

class Figure {
  constructor(root) {
    this.root = root;
    this.name = root.dataset.figure;
    this.box = root.querySelector(".drawing");
    this.visible = false;
    this.drawnAddress = null; // the address whose response is drawn
    this.payload = null;
    this.loading = null;
    this.stale = true;
    this.drawnAt = 0;
    this.duration = 0; // of the last drawing, in ms
    this.size = 0; // bytes, compressed
    this.timer = null;
    this.due = 0; // when the timer ends
    this.tail = this.name === "history" ? new Tail(this.box, colour) : null;
    this.log = false;
    root.querySelector("[data-log]")?.addEventListener("click", (event) => {
      this.log = !this.log;
      event.currentTarget.setAttribute("aria-pressed", String(this.log));
      if (this.payload) this.render();
    });
  }

  address() {
    const extra = PLANES.has(this.name) || this.name === "pareto" ? { x: filter.get("x"), y: filter.get("y") } : {};
    return `/api/v1/studies/${study}/figures/${this.name}?${filter.query(this.name, extra)}`;
  }

  async update() {
    if (!this.visible || document.hidden) { this.stale = true; return; }
    if (this.loading) { this.stale = true; return; } // another request follows this one
    this.stale = false;
    this.loading = this.load();
    try { await this.loading; } finally { this.loading = null; }
    if (this.stale) this.schedule();
  }

  // `soon`: the changes did not arrive one by one. An update that is due earlier stays scheduled.
  schedule(soon = false) {
    const now = performance.now();
    const interval = soon ? MIN_DELAY
      : Math.max(INTERVALS[this.name] ?? DEFAULT_INTERVAL, IDLE * this.duration, this.size / RATE);
    const due = this.drawnAddress === this.address() ? Math.max(this.drawnAt + interval, now + MIN_DELAY) : now;
    if (this.timer && this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => { this.timer = null; this.update(); }, due - now);
  }

  async load() {
    const address = this.address();
    let payload;
    try {
      let request;
      // figures that take the server long do not delay the others
      await enqueueRequest(() => { request = fetch(address); return SLOW.has(this.name) ? null : request; });
      const response = await request;
      this.size = Number(response.headers.get("content-length"));
      payload = await response.json();
      if (!response.ok) payload = { caption: payload.error, version: null };
    } catch {
      this.stale = true; // the server is away; an event of the stream announces its return
      return;
    }
    if (address !== this.address()) { this.stale = true; return; }
    this.payload = payload;
    this.drawnAddress = address;
    await enqueueDrawing(async () => {
      const start = performance.now();
      await this.render();
      this.drawnAt = performance.now();
      this.duration = this.drawnAt - start;
    });
    this.root.dataset.drawn = payload.version ?? "none";
  }

  async render() {
    const { payload, root, box } = this;
    root.querySelector("[data-caption]").textContent = payload.caption;
    root.classList.toggle("blank", !payload.figure);
    this.showTable(payload.table);
    if (!payload.figure) { if (box.data) await clear(box); return; }
    await draw(box, payload, (data, layout) => this.change(data, layout));
    this.tail?.begin(payload);
    this.listen();
  }

  // Adapt the server's figure to the page.
  change(data, layout) {
    if (this.log) for (const key of Object.keys(layout))
      if (/^yaxis\d*$/.test(key)) Object.assign(layout[key], { type: "log", range: undefined, autorange: true });
    if (!BRUSHED.has(this.name)) return;
    const wheres = filter.brushes()[this.name] ?? [];
    if (this.name === "parallel") brush.toParallel(this.payload.brush, wheres, data[0].dimensions);
    else if (isAnalysis) {
      layout.dragmode = "select";
      layout.selectdirection = this.name === "edf" ? "h" : "any";
      layout.newselection = { line: { color: colour("#1d5bb8"), width: 1, dash: "solid" } };
      if (!wheres.length) layout.selections = [];
      layout.selectionrevision = wheres.length ? "kept" : String(Math.random());
    }
  }

  listen() {
    if (this.listening || !BRUSHED.has(this.name)) return;
    this.listening = true;
    this.box.on("plotly_selected", (event) => {
      if (event?.range) filter.setBrush(this.name, brush.ofBox(this.payload.brush, event.range));
    });
    this.box.on("plotly_deselect", () => filter.setBrush(this.name, []));
    this.box.on("plotly_click", ({ points: [point] }) => {
      const number = [point.customdata].flat()[0];
      if (Number.isInteger(number)) location.href = `/studies/${study}/trials/${number}`;
    });
    if (this.name === "parallel") this.box.on("plotly_restyle", () =>
      filter.setBrush(this.name, brush.ofParallel(this.payload.brush, this.box.data[0].dimensions)));
  }

  showTable(table) {
    const details = this.root.querySelector("details");
    details.hidden = !table;
    if (!table) return;
    const fill = () => {
      const cells = (row, kind) => {
        const line = document.createElement("tr");
        line.append(...row.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
        return line;
      };
      const head = document.createElement("thead"), body = document.createElement("tbody");
      head.append(cells(table.columns, "th"));
      body.append(...table.rows.map((row) => cells(row, "td")));
      details.querySelector("table").replaceChildren(head, body);
      details.querySelector("[data-note]").textContent = table.note;
    };
    details.ontoggle = () => { if (details.open) fill(); };
    if (details.open) fill();
  }
}

const figures = [...document.querySelectorAll("[data-figure]")].map((root) => new Figure(root));
const byRoot = new Map(figures.map((figure) => [figure.root, figure]));

// the first figures at once: an observer reports only after a frame
const observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
  const figure = byRoot.get(entry.target);
  figure.visible = entry.isIntersecting;
  if (figure.visible && figure.stale) figure.update();
}), { rootMargin: "200px" });
for (const figure of figures) {
  const { top } = figure.root.getBoundingClientRect();
  if (top < innerHeight) { figure.visible = true; figure.update(); }
  observer.observe(figure.root);
}

const refresh = (soon) => figures.forEach((figure) => { figure.stale = true; if (figure.visible) figure.schedule(soon); });

document.addEventListener("tuner:filter", () => figures.forEach((figure) => {
  if (figure.drawnAddress !== figure.address()) { figure.stale = true; figure.update(); }
}));
document.addEventListener("tuner:trials", ({ detail }) => {
  if (detail.study !== study) return;
  for (const figure of figures) if (figure.tail && filter.isEmpty() && detail.trials) figure.tail.add(detail);
  refresh(false);
});
document.addEventListener("tuner:study", ({ detail }) => { if (detail.study === study) refresh(true); });
document.addEventListener("tuner:resync", () => refresh(true));
document.addEventListener("tuner:hello", ({ detail }) => {
  const version = detail.versions[study];
  if (figures.some((figure) => figure.payload && figure.payload.version !== version)) refresh(true);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) figures.forEach((figure) => { if (figure.visible && figure.stale) figure.update(); });
});

for (const root of document.querySelectorAll("form.choice")) filter.attachBar(root);
for (const choice of document.querySelectorAll("select[data-plane]")) {
  choice.value = filter.get(choice.dataset.plane) ?? choice.value;
  choice.addEventListener("change", () => filter.set(choice.dataset.plane, choice.value));
}
