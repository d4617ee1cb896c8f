// New trials in a history of any length: marks above the drawing, so that its thousands of marks are
// not drawn again with every trial. The next whole figure includes them.
/* global Plotly */

const WAIT = 50; // ms: trials that arrive within are drawn together
const ROOM = 0.04; // of the range, added to the right of the newest trial
const COLOURS = { complete: "#2a6fcb", pruned: "#c28414", failed: "#b3261e", running: "#0e8f9b", waiting: "#8a94a3", paused: "#8a63b8" };
const SVG = "http://www.w3.org/2000/svg";

const changeCount = (version) => Number(version?.split("-")[1] ?? 0);

export class Tail {
  constructor(box, colour) {
    this.box = box;
    this.colour = colour;
    this.points = new Map(); // number → { state, value, at: the version's count }
  }

  // After a whole figure: drop the trials that it shows.
  begin({ version }) {
    for (const [number, point] of this.points) if (point.at <= changeCount(version)) this.points.delete(number);
    if (!this.listening) this.box.on("plotly_afterplot", () => this.show());
    this.listening = true;
    this.show();
  }

  add({ version, trials }) {
    for (const [number, state, value] of trials)
      if (value === null) this.points.delete(number);
      else this.points.set(number, { state, value, at: changeCount(version) });
    this.timer ??= setTimeout(() => { this.timer = null; this.show(); }, WAIT);
  }

  show() {
    if (!this.listening) return; // the figure is not drawn yet, or not completely
    this.box.querySelector(".tail")?.remove();
    const layout = this.box._fullLayout, plot = this.box.querySelector(".cartesianlayer .overplot > .xy");
    if (!layout?.xaxis || !plot || !this.points.size) return;
    const [left, right] = layout.xaxis.range, last = Math.max(...this.points.keys());
    if (last > right && this.follows !== last) {
      this.follows = last; // only once, so that a user who has zoomed elsewhere is not pulled back again and again
      Plotly.relayout(this.box, { "xaxis.range": [left, last + Math.max(ROOM * (last - left), 1)] });
      return; // which draws, and calls this again
    }
    const layer = document.createElementNS(SVG, "g");
    layer.setAttribute("class", "tail");
    for (const [number, { state, value }] of this.points) {
      const mark = document.createElementNS(SVG, "circle"), colour = this.colour(COLOURS[state]);
      mark.setAttribute("cx", layout.xaxis.l2p(number));
      mark.setAttribute("cy", layout.yaxis.l2p(layout.yaxis.d2l(value)));
      mark.setAttribute("r", 4);
      mark.setAttribute("fill", state === "complete" ? colour : "none");
      mark.setAttribute("stroke", colour);
      mark.setAttribute("stroke-width", 1.5);
      mark.dataset.number = number;
      layer.append(mark);
    }
    plot.append(layer);
  }
}
