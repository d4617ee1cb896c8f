// Draws a figure from the server, in the scheme's colours and with as many columns as fit.
/* global Plotly */

const { config, dark } = JSON.parse(document.getElementById("plots").textContent);
const scheme = matchMedia("(prefers-color-scheme: dark)");
// these hold data, in which a text that looks like a colour is not one
const DATA = new Set(["x", "y", "z", "text", "hovertext", "customdata", "values", "base"]);

const recolour = (node) => {
  if (typeof node === "string") return Object.hasOwn(dark, node) ? dark[node] : node;
  if (Array.isArray(node)) return node.map(recolour);
  if (node === null || typeof node !== "object" || node.bdata) return node;
  return Object.fromEntries(Object.entries(node).map(([key, inner]) =>
    [key, DATA.has(key) && Array.isArray(inner) ? inner : recolour(inner)]));
};

const columnCount = (width) => (width < 520 ? 1 : width < 860 ? 2 : 3);

const arrange = (layout, count) => {
  for (const [key, value] of Object.entries(layout.meta?.grids?.[count] ?? {})) {
    const dot = key.lastIndexOf(".");
    if (dot < 0) layout[key] = value;
    else layout[key.slice(0, dot)][key.slice(dot + 1)] = value;
  }
};

const figures = new Map(); // element → { payload, change }
const pending = new WeakMap(); // element → a promise that ends with its drawing

// A first drawing takes several tasks (tools/plotly/entry.cjs): the next one waits for its end.
const enqueue = (box, task) => {
  const result = Promise.resolve(pending.get(box)).then(task);
  pending.set(box, result.catch(() => {}));
  return result;
};

export const draw = (box, payload, change = () => {}) => {
  figures.set(box, { payload, change });
  return enqueue(box, async () => {
    const figure = structuredClone(payload.figure);
    const { data, layout } = scheme.matches ? recolour(figure) : figure;
    box.dataset.columns = columnCount(box.clientWidth);
    arrange(layout, box.dataset.columns);
    box.style.height = `${layout.height}px`;
    layout.uirevision = "kept"; // zoom survives new data
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
  figures.delete(box);
  return enqueue(box, () => {
    Plotly.purge(box);
    box.style.height = "";
  });
};

const redraw = (predicate) => {
  for (const [box, { payload, change }] of figures) if (predicate(box)) draw(box, payload, change);
};
scheme.addEventListener("change", () => redraw(() => true));
let resizeTimer = 0;
addEventListener("resize", () => {
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(() => redraw((box) => Number(box.dataset.columns) !== columnCount(box.clientWidth)), 150);
});

export const colour = (light) => (scheme.matches ? dark[light] ?? light : light);
