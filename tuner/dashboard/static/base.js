// What every page does: times in the viewer's zone, sentences of what was done, dialogs, copying,
// and which rows of a list are selected. What changes elsewhere comes as events (stream.js).
/* global htmx */

const MINUTE = 60, HOUR = 3600, DAY = 86400; // seconds
const STEPS = [[MINUTE, 1, "second"], [HOUR, MINUTE, "minute"], [DAY, HOUR, "hour"], [30 * DAY, DAY, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const near = (date) => {
  const seconds = (date - Date.now()) / 1000;
  const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return step ? relative.format(Math.round(seconds / step[1]), step[2])
    : date.toLocaleDateString(undefined, { dateStyle: "medium" });
};

const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    time.textContent = near(date);
    time.title = absolute.format(date);
  }
};

const say = (text, kind = "", undo = null) => {
  const toast = document.createElement("p");
  toast.className = `toast ${kind}`;
  toast.textContent = text;
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Undo";
    button.addEventListener("click", () => {
      toast.remove();
      htmx.ajax("POST", undo.path, { swap: "none", values: undo.values });
    });
    toast.append(" ", button);
  }
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "error" || undo ? 12000 : 6000);
};

const copy = async (button) => {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // no clipboard here: ready for Ctrl+C
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

const selected = new Set();

const showSelected = () => {
  const boxes = [...document.querySelectorAll('#list input[name="ids"]')];
  for (const box of boxes) box.checked = selected.has(box.value);
  const here = boxes.filter((box) => box.checked).length;
  const bulk = document.querySelector(".bulk");
  if (bulk) bulk.hidden = here === 0;
  for (const place of document.querySelectorAll("[data-selected]")) place.textContent = here;
  const all = document.querySelector("[data-all]");
  if (all) { all.checked = here > 0 && here === boxes.length; all.indeterminate = here > 0 && here < boxes.length; }
  const compare = document.querySelector("[data-compare]");
  if (compare) compare.href = `/compare?${boxes.filter((b) => b.checked).map((b) => `studies=${b.value}`).join("&")}`;
};

document.addEventListener("change", (event) => {
  const box = event.target;
  const boxes = box.matches("[data-all]") ? document.querySelectorAll('#list input[name="ids"]')
    : box.matches('#list input[name="ids"]') ? [box] : [];
  for (const one of boxes) box.checked ? selected.add(one.value) : selected.delete(one.value);
  if (boxes.length) { event.stopPropagation(); showSelected(); }
}, true);

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target) || button) menu.open = false;
  if (!button) return;
  if (button.dataset.copy) copy(button);
  if (button.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  if ("closes" in button.dataset) button.closest("dialog").close();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.firstElementChild.focus(); }
});

// Parts of the page are replaced while somebody reads them: what they have opened stays open.
const opened = new Set();
document.addEventListener("toggle", (event) => {
  const { id, open } = event.target;
  if (id && event.target.matches("details")) open ? opened.add(id) : opened.delete(id);
}, true);
document.addEventListener("htmx:beforeRequest", (event) => {
  const isRefresh = event.target.id === "header" && event.detail.requestConfig.verb === "get";
  if (isRefresh && event.target.querySelector("details.menu[open]")) event.preventDefault();
});
// What is as before is left alone: text stays selected, and nothing flickers. An address that goes
// with it is set by the swap alone.
const before = new Map();
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, requestConfig } = event.detail;
  if (requestConfig.verb !== "get" || !target.id || xhr.status !== 200) return;
  // an element that is gone could not say what its request has done; after that comes a refresh anyway
  if (target.querySelector("button.htmx-request, form.htmx-request")) { event.detail.shouldSwap = false; return; }
  const isAsBefore = before.get(target.id) === xhr.responseText;
  if (isAsBefore && !requestConfig.elt.closest("[hx-push-url]")) event.detail.shouldSwap = false;
  before.set(target.id, xhr.responseText);
});
document.addEventListener("htmx:afterSettle", (event) => {
  const root = event.detail.target ?? event.detail.elt;
  showTimes(root);
  for (const details of root.querySelectorAll("details[id]")) details.open = opened.has(details.id);
  if (root.querySelector("#list")) showSelected();
});
// What somebody else has changed meanwhile is not set back by a form that was opened before.
document.addEventListener("htmx:configRequest", (event) => {
  if (!("changedOnly" in event.target.dataset)) return;
  for (const input of event.target.querySelectorAll("input[name]"))
    if (input.value === input.defaultValue) delete event.detail.parameters[input.name];
});
document.addEventListener("htmx:responseError", (event) => say(event.detail.xhr.responseText, "error"));
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.requestConfig.verb !== "get") say("The dashboard does not answer.", "error");
});
document.addEventListener("tuner:done", (event) => {
  say(decodeURIComponent(event.detail.said), event.detail.bad ? "error" : "", event.detail.undo);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  selected.clear();
});

// What changes elsewhere: `tuner:here` says that it concerns this page. Who is not logged in yet gets
// no stream.
const APART = 2000; // ms at least from one `tuner:here` to the next: each asks for a part of the page anew
let told = -APART, telling = null;
const here = () => {
  telling = null;
  told = performance.now();
  document.dispatchEvent(new CustomEvent("tuner:here"));
};
for (const name of ["tuner:hello", "tuner:trials", "tuner:study"])
  document.addEventListener(name, ({ detail }) => {
    const { study } = document.body.dataset;
    if (!study || !detail?.study || Number(study) === detail.study)
      telling ??= setTimeout(here, name === "tuner:trials" ? Math.max(told + APART - performance.now(), 0) : 0);
  });
// a menu that is wider than a phone begins where its page is
for (const link of document.querySelectorAll("nav [aria-current]")) link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 24;
// after what the page draws: neither changes what is to be read at once
const idle = window.requestIdleCallback ?? ((begin) => setTimeout(begin, 200));
idle(() => {
  showTimes(document);
  setInterval(() => showTimes(document), 20000);
  if (document.querySelector("nav.main")) import("./stream.js");
}, { timeout: 1000 });
