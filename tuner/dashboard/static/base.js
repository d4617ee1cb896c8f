// Times in the viewer's zone, sentences of what went wrong, copying.

const MINUTE = 60, HOUR = 3600, DAY = 86400; // seconds
const STEPS = [[MINUTE, 1, "second"], [HOUR, MINUTE, "minute"], [DAY, HOUR, "hour"], [30 * DAY, DAY, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const ago = (date) => {
  const seconds = (date - Date.now()) / 1000;
  const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return step ? relative.format(Math.round(seconds / step[1]), step[2])
    : date.toLocaleDateString(undefined, { dateStyle: "medium" });
};

const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    time.textContent = ago(date);
    time.title = absolute.format(date);
  }
};

export const say = (text, kind = "") => {
  const toast = document.createElement("p");
  toast.className = `toast ${kind}`;
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "error" ? 12000 : 5000);
};

const copy = async (button) => {
  const source = document.getElementById(button.dataset.copy);
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // no clipboard here: ready for Ctrl+C
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
document.addEventListener("htmx:afterSettle", (event) => showTimes(event.detail.elt));
document.addEventListener("htmx:responseError", (event) => say(event.detail.xhr.responseText, "error"));
document.addEventListener("htmx:sendError", () => say("The dashboard does not answer.", "error"));
showTimes(document);
setInterval(() => showTimes(document), 20000);
