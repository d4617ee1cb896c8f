// Which trials the page shows. All of it is in the address, so a link shows the same.
//
//   state=complete&top=50&brush.history=[["value",[0.9,null]]]&x=learning_rate&y=dropout
//
// A brush belongs to the figure in which it was drawn, which still shows all trials.

const params = () => new URLSearchParams(location.search);
const BRUSH = "brush.";

export const get = (name) => params().get(name);
export const states = () => params().getAll("state");
export const brushes = () => {
  const byFigure = {};
  for (const [key, value] of params())
    if (key.startsWith(BRUSH))
      try { byFigure[key.slice(BRUSH.length)] = JSON.parse(value); } catch { /* a broken link: no brush */ }
  return byFigure;
};

const replaceParams = (changed) => {
  const query = changed.toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  document.dispatchEvent(new CustomEvent("tuner:filter"));
};

export const set = (name, value) => {
  const changed = params();
  changed.delete(name);
  for (const item of [value].flat()) if (item !== null && item !== "") changed.append(name, item);
  replaceParams(changed);
};
export const setBrush = (figure, wheres) => {
  const text = wheres?.length ? JSON.stringify(wheres) : null;
  if (text !== get(BRUSH + figure)) set(BRUSH + figure, text);
};
export const clear = () => {
  const changed = params();
  for (const key of [...changed.keys()])
    if (key === "state" || key === "top" || key.startsWith(BRUSH)) changed.delete(key);
  replaceParams(changed);
};

// The query for a figure; `figure` null: for the table.
export const query = (figure, extra = {}) => {
  const search = new URLSearchParams();
  for (const state of states()) search.append("state", state);
  if (get("top")) search.set("top", get("top"));
  for (const [name, wheres] of Object.entries(brushes()))
    if (name !== figure) for (const where of wheres) search.append("where", JSON.stringify(where));
  for (const [key, value] of Object.entries(extra)) if (value !== null && value !== undefined) search.set(key, value);
  return search.toString();
};

export const isEmpty = () => !states().length && !get("top") && !Object.keys(brushes()).length;

const formatNumber = (value) => (value === null ? "" : Number(value.toPrecision(4)).toString());
const describe = ([column, ...parts]) => {
  const name = column.replace(/^params\./, "");
  const readable = column === "finished" ? parts.map((range) => range.map((t) => (t === null ? null : new Date(t / 1000).toLocaleString()))) : parts;
  const format = (p) => (!Array.isArray(p) ? String(p)
    : column === "finished" ? p.join(" … ") : `${formatNumber(p[0])} … ${formatNumber(p[1])}`);
  return `${name}: ${readable.map(format).join(", ")}`;
};

// The bar above the figures: states, top, and one chip per condition.
export const attachBar = (root) => {
  const show = () => {
    for (const box of root.querySelectorAll("input[name=state]")) box.checked = states().includes(box.value);
    const top = root.querySelector("input[name=top]");
    if (top && document.activeElement !== top) top.value = get("top") ?? "";
    const chips = root.querySelector(".chips");
    chips.replaceChildren(...Object.entries(brushes()).flatMap(([figure, wheres]) => wheres.map((where, i) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "chip";
      chip.textContent = `${describe(where)} ×`;
      chip.setAttribute("aria-label", `Remove the filter ${describe(where)}`);
      chip.addEventListener("click", () => setBrush(figure, wheres.filter((_, j) => j !== i)));
      return chip;
    })));
    root.querySelector("[data-clear]").hidden = isEmpty();
    for (const link of document.querySelectorAll("nav.tabs a")) link.search = location.search;
    for (const link of document.querySelectorAll("a[data-filtered]")) link.search = query(null);
  };
  root.addEventListener("change", (event) => {
    if (event.target.name === "state")
      set("state", [...root.querySelectorAll("input[name=state]:checked")].map((box) => box.value));
    if (event.target.name === "top") set("top", event.target.value > 0 ? String(Math.floor(event.target.value)) : null);
  });
  root.addEventListener("submit", (event) => event.preventDefault());
  root.querySelector("[data-clear]").addEventListener("click", clear);
  document.addEventListener("tuner:filter", show);
  show();
};
