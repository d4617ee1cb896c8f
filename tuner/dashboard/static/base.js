// What every page does: times in the viewer's zone, toasts, dialogs, copying, and the selected rows
// of a list. Changes made elsewhere arrive as events (stream.js).
/* global htmx */

const MINUTE = 60, HOUR = 3600, DAY = 86400; // seconds
const STEPS = [[MINUTE, 1, "second"], [HOUR, MINUTE, "minute"], [DAY, HOUR, "hour"], [30 * DAY, DAY, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const formatTime = (date) => {
  const seconds = (date - Date.now()) / 1000;
  const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return step ? relative.format(Math.round(seconds / step[1]), step[2])
    : date.toLocaleDateString(undefined, { dateStyle: "medium" });
};

const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    time.textContent = formatTime(date);
    time.title = absolute.format(date);
  }
};

const showToast = (text, kind = "", undo = null) => {
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
    getSelection().selectAllChildren(source); // without a clipboard: ready for Ctrl+C
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

const selected = new Set();

const showSelected = () => {
  const boxes = [...document.querySelectorAll('#list input[name="ids"]')];
  for (const box of boxes) box.checked = selected.has(box.value);
  const count = boxes.filter((box) => box.checked).length;
  const bulk = document.querySelector(".bulk");
  if (bulk) bulk.hidden = count === 0;
  for (const element of document.querySelectorAll("[data-selected]")) element.textContent = count;
  const all = document.querySelector("[data-all]");
  if (all) { all.checked = count > 0 && count === boxes.length; all.indeterminate = count > 0 && count < boxes.length; }
  const compare = document.querySelector("[data-compare]");
  if (compare) compare.href = `/compare?${boxes.filter((b) => b.checked).map((b) => `studies=${b.value}`).join("&")}`;
};

document.addEventListener("change", (event) => {
  const { target } = event;
  const boxes = target.matches("[data-all]") ? document.querySelectorAll('#list input[name="ids"]')
    : target.matches('#list input[name="ids"]') ? [target] : [];
  for (const box of boxes) target.checked ? selected.add(box.value) : selected.delete(box.value);
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

// Parts of the page are replaced while they are being read: open details stay open.
const openDetails = new Set();
document.addEventListener("toggle", (event) => {
  const { id, open } = event.target;
  if (id && event.target.matches("details")) open ? openDetails.add(id) : openDetails.delete(id);
}, true);
document.addEventListener("htmx:beforeRequest", (event) => {
  const isRefresh = event.target.id === "header" && event.detail.requestConfig.verb === "get";
  if (isRefresh && event.target.querySelector("details.menu[open]")) event.preventDefault();
});
// Unchanged parts are not replaced: text stays selected, and nothing flickers. If a request also
// changes the address, it is swapped all the same, because the swap sets the address.
const lastResponses = new Map();
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, xhr, requestConfig } = event.detail;
  if (requestConfig.verb !== "get" || !target.id || xhr.status !== 200) return;
  // an element that is gone could not report its request's outcome; a refresh follows anyway
  if (target.querySelector("button.htmx-request, form.htmx-request")) { event.detail.shouldSwap = false; return; }
  const isUnchanged = lastResponses.get(target.id) === xhr.responseText;
  if (isUnchanged && !requestConfig.elt.closest("[hx-push-url]")) event.detail.shouldSwap = false;
  lastResponses.set(target.id, xhr.responseText);
});
document.addEventListener("htmx:afterSettle", (event) => {
  const root = event.detail.target ?? event.detail.elt;
  showTimes(root);
  for (const details of root.querySelectorAll("details[id]")) details.open = openDetails.has(details.id);
  if (root.querySelector("#list")) showSelected();
});
// A form that was opened earlier must not revert what somebody else has changed since.
document.addEventListener("htmx:configRequest", (event) => {
  if (!("changedOnly" in event.target.dataset)) return;
  for (const input of event.target.querySelectorAll("input[name]"))
    if (input.value === input.defaultValue) delete event.detail.parameters[input.name];
});
document.addEventListener("htmx:responseError", (event) => showToast(event.detail.xhr.responseText, "error"));
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.requestConfig.verb !== "get") showToast("The dashboard is not responding.", "error");
});
document.addEventListener("tuner:done", (event) => {
  const { message, error, undo } = event.detail;
  showToast(decodeURIComponent(message), error ? "error" : "", undo);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  selected.clear();
});

// Of the changes made elsewhere, `tuner:here` announces those that concern this page. Before the login
// there is no stream.
const MIN_INTERVAL = 2000; // ms between two `tuner:here` events: each requests a part of the page again
let announcedAt = -MIN_INTERVAL, timer = null;
const announce = () => {
  timer = null;
  announcedAt = performance.now();
  document.dispatchEvent(new CustomEvent("tuner:here"));
};
for (const name of ["tuner:hello", "tuner:trials", "tuner:study"])
  document.addEventListener(name, ({ detail }) => {
    const { study } = document.body.dataset;
    if (!study || !detail?.study || Number(study) === detail.study)
      timer ??= setTimeout(announce, name === "tuner:trials" ? Math.max(announcedAt + MIN_INTERVAL - performance.now(), 0) : 0);
  });
// scroll a menu that is wider than a phone to the current page
for (const link of document.querySelectorAll("nav [aria-current]")) link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 24;
// after the page has been drawn: neither changes what can be read at first
const whenIdle = window.requestIdleCallback ?? ((callback) => setTimeout(callback, 200));
whenIdle(() => {
  showTimes(document);
  setInterval(() => showTimes(document), 20000);
  if (document.querySelector("nav.main")) import("./stream.js");
}, { timeout: 1000 });
