// scatter is in the core; "strict" parcoords has its shaders' bindings compiled beforehand, where the
// ordinary one calls `new Function` and draws nothing under our content security policy.
const Plotly = require("plotly.js/lib/core");

Plotly.register([
  require("plotly.js/lib/bar"),
  require("plotly.js/lib/heatmap"),
  require("plotly.js/lib/contour"),
  require("plotly.js/src/traces/parcoords/strict"),
]);

module.exports = Plotly;
