// The figures of a page: each asks for what the filter leaves, when it is seen, and again when
// something is new.
/* global Plotly */

import * as brush from "./brush.js";
import { clear, colour, draw } from "./draw.js";
import * as filter from "./filter.js";
import { Tail } from "./tail.js";

const study = Number(document.body.dataset.study);
const BRUSHED = new Set(["history", "parallel", "slices", "rank", "contour", "heat", "edf", "pareto"]);
const SLOW = new Set(["importance", "parallel", "slices", "rank", "contour", "heat"]); // need importance
const PLANES = new Set(["rank", "contour", "heat"]);
// ms between whole figures while trials keep coming; a history's new marks come at once
const AGAIN = { history: 15000, curves: 3000, burndown: 5000, timeline: 5000 }, OTHERS = 15000;
const SOON = 1000; // ms at least from what is new to the whole figure
const IDLE = 15; // times as long as the last drawing took: what is new leaves the page time to be used
const RATE = 1; // byte a ms that a figure may take from the network while trials keep coming
const isAnalysis = document.body.querySelector("[data-analyse]") !== null;

// One after the other: the first figure is there before the server begins with the second, and is
// painted before the page draws the second.
const lane = (pause) => {
  let before = Promise.resolve();
  return (act) => {
    const done = before.then(act);
    before = done.catch(() => {}).then(pause);
    return done;
  };
};
const asking = lane(() => {});
const drawing = lane(() => new Promise((done) => {
  requestAnimationFrame(() => setTimeout(done));
  setTimeout(done, 200); // there are no frames where nobody looks
}));

class Figure {
  constructor(root) {
    this.root = root;
    this.name = root.dataset.figure;
    this.box = root.querySelector(".drawing");
    this.seen = false; // on the screen
    this.shown = null; // the address whose answer is drawn
    this.payload = null;
    this.loading = null;
    this.stale = true;
    this.drawnAt = 0;
    this.took = 0; // ms
    this.size = 0; // bytes, compressed
    this.timer = null;
    this.due = 0; // when it ends
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
    if (!this.seen || document.hidden) { this.stale = true; return; }
    if (this.loading) { this.stale = true; return; } // what is under way is followed by another
    this.stale = false;
    this.loading = this.load();
    try { await this.loading; } finally { this.loading = null; }
    if (this.stale) this.later();
  }

  // `soon`: what came meanwhile was not told one by one. What is due earlier stays so.
  later(soon = false) {
    const now = performance.now();
    const apart = soon ? SOON : Math.max(AGAIN[this.name] ?? OTHERS, IDLE * this.took, this.size / RATE);
    const due = this.shown === this.address() ? Math.max(this.drawnAt + apart, now + SOON) : now;
    if (this.timer && this.due <= due) return;
    clearTimeout(this.timer);
    this.due = due;
    this.timer = setTimeout(() => { this.timer = null; this.update(); }, due - now);
  }

  async load() {
    const address = this.address();
    let payload;
    try {
      let asked;
      // what takes the server long does not keep the others waiting
      await asking(() => { asked = fetch(address); return SLOW.has(this.name) ? null : asked; });
      const answer = await asked;
      this.size = Number(answer.headers.get("content-length"));
      payload = await answer.json();
      if (!answer.ok) payload = { caption: payload.error, version: null };
    } catch {
      this.stale = true; // the server is away; the stream tells when it is back
      return;
    }
    if (address !== this.address()) { this.stale = true; return; }
    this.payload = payload;
    this.shown = address;
    await drawing(async () => {
      const began = performance.now();
      await this.render();
      this.drawnAt = performance.now();
      this.took = this.drawnAt - began;
    });
    this.root.dataset.drawn = payload.version ?? "none";
  }

  async render() {
    const { payload, root, box } = this;
    root.querySelector("[data-caption]").textContent = payload.caption;
    root.classList.toggle("blank", !payload.figure);
    this.table(payload.table);
    if (!payload.figure) { if (box.data) await clear(box); return; }
    await draw(box, payload, (data, layout) => this.change(data, layout));
    this.tail?.begin(payload);
    this.listen();
  }

  // What the page adds to what the server drew.
  change(data, layout) {
    if (this.log) for (const key of Object.keys(layout))
      if (/^yaxis\d*$/.test(key)) Object.assign(layout[key], { type: "log", range: undefined, autorange: true });
    if (!BRUSHED.has(this.name)) return;
    const own = filter.brushes()[this.name] ?? [];
    if (this.name === "parallel") brush.toParallel(this.payload.brush, own, data[0].dimensions);
    else if (isAnalysis) {
      layout.dragmode = "select";
      layout.selectdirection = this.name === "edf" ? "h" : "any";
      layout.newselection = { line: { color: colour("#1d5bb8"), width: 1, dash: "solid" } };
      if (!own.length) layout.selections = [];
      layout.selectionrevision = own.length ? "kept" : String(Math.random());
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

  table(table) {
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

// the first ones at once: an observer tells only after a frame
const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
  const figure = byRoot.get(entry.target);
  figure.seen = entry.isIntersecting;
  if (figure.seen && figure.stale) figure.update();
}), { rootMargin: "200px" });
for (const figure of figures) {
  const { top } = figure.root.getBoundingClientRect();
  if (top < innerHeight) { figure.seen = true; figure.update(); }
  watch.observe(figure.root);
}

const changed = (soon) => figures.forEach((figure) => { figure.stale = true; if (figure.seen) figure.later(soon); });

document.addEventListener("tuner:filter", () => figures.forEach((figure) => {
  if (figure.shown !== figure.address()) { figure.stale = true; figure.update(); }
}));
document.addEventListener("tuner:trials", ({ detail }) => {
  if (detail.study !== study) return;
  for (const figure of figures) if (figure.tail && filter.isEmpty() && detail.trials) figure.tail.add(detail);
  changed(false);
});
document.addEventListener("tuner:study", ({ detail }) => { if (detail.study === study) changed(true); });
document.addEventListener("tuner:resync", () => changed(true));
document.addEventListener("tuner:hello", ({ detail }) => {
  const version = detail.versions[study];
  if (figures.some((figure) => figure.payload && figure.payload.version !== version)) changed(true);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) figures.forEach((figure) => { if (figure.seen && figure.stale) figure.update(); });
});

for (const root of document.querySelectorAll("form.choice")) filter.bar(root);
for (const choice of document.querySelectorAll("select[data-plane]")) {
  choice.value = filter.get(choice.dataset.plane) ?? choice.value;
  choice.addEventListener("change", () => filter.set(choice.dataset.plane, choice.value));
}
