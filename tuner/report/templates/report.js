"use strict";
// Draws the figures in the colours of the scheme, in as many columns as there is room for.
(() => {
  const { figures, config, dark } = JSON.parse(document.getElementById("payload").textContent);
  const schemeQuery = matchMedia("(prefers-color-scheme: dark)");
  // pixels that fit on A4 and on letter within the page's margins: a whole row, half of one
  const PRINT_WIDTH = { whole: 650, half: 305 };
  const PRINT_HEIGHT = 0.78; // of the screen's, so that two figures share a page
  const DATA = new Set(["x", "y", "text", "hovertext", "customdata", "values"]);
  // parallel coordinates need WebGL, which takes seconds without a GPU: the others come first
  const boxes = [...document.querySelectorAll("[data-figure]")]
    .sort((a, b) => a.dataset.figure.endsWith("parallel") - b.dataset.figure.endsWith("parallel"));
  // a family's part that is closed has no size, and browsers keep few WebGL contexts alive
  const isShown = (box) => !box.closest("details.family:not([open])");
  let printing = false;

  // a text in the data that looks like a colour is not one
  const recolour = (node) => {
    if (typeof node === "string") return Object.hasOwn(dark, node) ? dark[node] : node;
    if (Array.isArray(node)) return node.map(recolour);
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([key, inner]) =>
      [key, DATA.has(key) && Array.isArray(inner) ? inner : recolour(inner)]));
  };

  const columns = (width) => (width < 520 ? 1 : width < 860 ? 2 : 3);

  const arrange = (layout, count) => {
    const changes = layout.meta?.grids?.[count] ?? {};
    for (const [key, value] of Object.entries(changes)) {
      const dot = key.lastIndexOf(".");
      if (dot < 0) layout[key] = value;
      else layout[key.slice(0, dot)][key.slice(dot + 1)] = value;
    }
  };

  const draw = (box) => {
    const isDark = schemeQuery.matches && !printing;
    const copy = structuredClone(figures[box.dataset.figure]);
    const { data, layout } = isDark ? recolour(copy) : copy;
    const printed = box.closest(".columns") ? PRINT_WIDTH.half : PRINT_WIDTH.whole;
    const width = printing ? printed : box.clientWidth;
    const count = printing ? 3 : columns(width);
    arrange(layout, count);
    box.dataset.columns = count;
    if (printing && printed === PRINT_WIDTH.whole) layout.height *= PRINT_HEIGHT;
    box.style.height = `${layout.height}px`;
    layout.uirevision = "kept"; // zoom and brushes survive a change of colours
    if (printing) layout.width = width;
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls
    return Plotly.react(box, data, layout, {
      ...config,
      toImageButtonOptions: { ...config.toImageButtonOptions, filename: box.dataset.figure },
    });
  };
  const drawAll = () => boxes.filter(isShown).forEach(draw);

  const print = (now) => {
    if (printing === now) return;
    printing = now;
    drawAll();
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  schemeQuery.addEventListener("change", drawAll);
  addEventListener("resize", () => {
    if (!printing) boxes.filter(isShown).filter((b) => Number(b.dataset.columns) !== columns(b.clientWidth)).forEach(draw);
  });

  // one after the other, so that the page can be scrolled while the later ones are drawn
  const drawInTurn = async (some) => {
    for (const box of some) {
      if (isShown(box)) await draw(box);
      await new Promise((resolve) => setTimeout(resolve));
    }
  };
  for (const part of document.querySelectorAll("details.family"))
    part.addEventListener("toggle", () => {
      const inside = boxes.filter((box) => part.contains(box));
      if (part.open) drawInTurn(inside).then(() => { part.dataset.drawn = "true"; });
      else inside.forEach((box) => { Plotly.purge(box); delete part.dataset.drawn; });
    });
  const follow = () => { // a link to a part, or to what is inside one, opens it
    const part = document.getElementById(location.hash.slice(1))?.closest("details.family");
    if (part && !part.open) {
      part.open = true;
      part.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  drawInTurn(boxes).then(() => {
    document.documentElement.dataset.drawn = "true";
    follow();
  });

  for (const button of document.querySelectorAll("button[data-copy]"))
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source); // no clipboard here: ready for Ctrl+C
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
})();
