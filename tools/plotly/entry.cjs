// scatter is in the core; "strict" parcoords has its shaders' bindings compiled beforehand, where the
// ordinary one calls `new Function` and draws nothing under our content security policy.
const Plotly = require("plotly.js/lib/core");

Plotly.register([
  require("plotly.js/lib/bar"),
  require("plotly.js/lib/heatmap"),
  require("plotly.js/lib/contour"),
  require("plotly.js/src/traces/parcoords/strict"),
]);

// A figure's first drawing takes a fifth of a second, most of it code that runs for the first time.
// plotly.js draws in steps, of which some may be asynchronous; where `_inTurns` is set, each step of
// the next drawing is a task of its own, so that the page answers meanwhile. Steps within a step stay
// together: a colour bar's would wait for themselves.
const Lib = require("plotly.js/src/lib");
const atOnce = Lib.syncOrAsync;
const turn = () => new Promise((go) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); go(); };
  port2.postMessage(null);
});
const inTurns = async (steps, gd) => {
  for (const step of steps) {
    await step(gd);
    await turn();
  }
};
Lib.syncOrAsync = (steps, gd, end) => {
  if (!gd?._inTurns) return atOnce(steps, gd, end);
  gd._inTurns = false;
  return inTurns(steps, gd).then(() => end?.(gd));
};

module.exports = Plotly;
