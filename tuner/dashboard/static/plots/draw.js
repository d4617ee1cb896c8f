// Draws a figure that the server made, in the colours of the scheme and as many columns as fit.
/* global Plotly */

const { config, dark } = JSON.parse(document.getElementById("plots").textContent);
const scheme = matchMedia("(prefers-color-scheme: dark)");
// these hold data, where a text that looks like a colour is not one
const DATA = new Set(["x", "y", "z", "text", "hovertext", "customdata", "values", "base"]);

const recolour = (node) => {
  if (typeof node === "string") return Object.hasOwn(dark, node) ? dark[node] : node;
  if (Array.isArray(node)) return node.map(recolour);
  if (node === null || typeof node !== "object" || node.bdata) return node;
  return Object.fromEntries(Object.entries(node).map(([key, inner]) =>
    [key, DATA.has(key) && Array.isArray(inner) ? inner : recolour(inner)]));
};

const columns = (width) => (width < 520 ? 1 : width < 860 ? 2 : 3);

const arrange = (layout, count) => {
  for (const [key, value] of Object.entries(layout.meta?.grids?.[count] ?? {})) {
    const dot = key.lastIndexOf(".");
    if (dot < 0) layout[key] = value;
    else layout[key.slice(0, dot)][key.slice(dot + 1)] = value;
  }
};

const drawn = new Map(); // element → { payload, change }
const underWay = new WeakMap(); // element → what ends with its drawing

// A first drawing takes several tasks (tools/plotly/entry.cjs): what comes next waits for its end.
const afterwards = (box, act) => {
  const done = Promise.resolve(underWay.get(box)).then(act);
  underWay.set(box, done.catch(() => {}));
  return done;
};

export const draw = (box, payload, change = () => {}) => {
  drawn.set(box, { payload, change });
  return afterwards(box, async () => {
    const figure = structuredClone(payload.figure);
    const { data, layout } = scheme.matches ? recolour(figure) : figure;
    box.dataset.columns = columns(box.clientWidth);
    arrange(layout, box.dataset.columns);
    box.style.height = `${layout.height}px`;
    layout.uirevision = "kept"; // zoom survives what is new
    change(data, layout);
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls
    box._inTurns = !box.data;
    await Plotly.react(box, data, layout, {
      ...config,
      toImageButtonOptions: { ...config.toImageButtonOptions, filename: box.closest("[data-figure]").dataset.figure },
    });
  });
};

export const clear = (box) => {
  drawn.delete(box);
  return afterwards(box, () => {
    Plotly.purge(box);
    box.style.height = "";
  });
};

const again = (wanted) => {
  for (const [box, { payload, change }] of drawn) if (wanted(box)) draw(box, payload, change);
};
scheme.addEventListener("change", () => again(() => true));
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => again((box) => Number(box.dataset.columns) !== columns(box.clientWidth)), 150);
});

export const colour = (light) => (scheme.matches ? dark[light] ?? light : light);
