// Which trials the page shows. All of it stands in the address, so that a link shows the same.
//
//   state=complete&top=50&brush.history=[["value",[0.9,null]]]&x=learning_rate&y=dropout
//
// A brush belongs to the figure that it was drawn in, which goes on to show all trials.

const params = () => new URLSearchParams(location.search);
const BRUSH = "brush.";

export const get = (name) => params().get(name);
export const states = () => params().getAll("state");
export const brushes = () => {
  const found = {};
  for (const [key, value] of params())
    if (key.startsWith(BRUSH))
      try { found[key.slice(BRUSH.length)] = JSON.parse(value); } catch { /* a broken link: no brush */ }
  return found;
};

const replace = (changed) => {
  const query = changed.toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  document.dispatchEvent(new CustomEvent("tuner:filter"));
};

export const set = (name, value) => {
  const changed = params();
  changed.delete(name);
  for (const one of [value].flat()) if (one !== null && one !== "") changed.append(name, one);
  replace(changed);
};
export const setBrush = (figure, wheres) => {
  const text = wheres?.length ? JSON.stringify(wheres) : null;
  if (text !== get(BRUSH + figure)) set(BRUSH + figure, text);
};
export const clear = () => {
  const changed = params();
  for (const key of [...changed.keys()])
    if (key === "state" || key === "top" || key.startsWith(BRUSH)) changed.delete(key);
  replace(changed);
};

// The query of what a figure shows; `figure` null: of the table.
export const query = (figure, extra = {}) => {
  const made = new URLSearchParams();
  for (const state of states()) made.append("state", state);
  if (get("top")) made.set("top", get("top"));
  for (const [name, wheres] of Object.entries(brushes()))
    if (name !== figure) for (const where of wheres) made.append("where", JSON.stringify(where));
  for (const [key, value] of Object.entries(extra)) if (value !== null && value !== undefined) made.set(key, value);
  return made.toString();
};

export const isEmpty = () => !states().length && !get("top") && !Object.keys(brushes()).length;

const number = (value) => (value === null ? "" : Number(value.toPrecision(4)).toString());
const words = ([column, ...parts]) => {
  const name = column.replace(/^params\./, "");
  const shown = column === "finished" ? parts.map((range) => range.map((t) => (t === null ? null : new Date(t / 1000).toLocaleString()))) : parts;
  const part = (p) => (!Array.isArray(p) ? String(p)
    : column === "finished" ? p.join(" … ") : `${number(p[0])} … ${number(p[1])}`);
  return `${name}: ${shown.map(part).join(", ")}`;
};

// The bar above the figures: states, top, a chip for each condition.
export const bar = (root) => {
  const show = () => {
    for (const box of root.querySelectorAll("input[name=state]")) box.checked = states().includes(box.value);
    const top = root.querySelector("input[name=top]");
    if (top && document.activeElement !== top) top.value = get("top") ?? "";
    const chips = root.querySelector(".chips");
    chips.replaceChildren(...Object.entries(brushes()).flatMap(([figure, wheres]) => wheres.map((where, i) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "chip";
      chip.textContent = `${words(where)} ×`;
      chip.setAttribute("aria-label", `Remove the filter ${words(where)}`);
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
