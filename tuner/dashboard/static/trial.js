// The trial's log, from its end on, followed while the trial is running.
const PERIOD = 1000; // ms between requests
const MAX_LENGTH = 400000; // characters that the page holds

const log = document.getElementById("log");
const note = document.getElementById("log-note");
const attemptSelect = document.getElementById("log-attempt");
let next = null; // the byte that comes next
let generation = 0; // counts changes of the attempt: responses of an earlier one are dropped

// What a terminal shows in the end: progress bars overwrite themselves.
const resolveOverwrites = (text) => text.replaceAll("\r\n", "\n").split("\n").map((line) => {
  const end = line.endsWith("\r") ? line.length - 1 : line.length; // the next part overwrites it
  return line.slice(line.lastIndexOf("\r", end - 1) + 1);
}).join("\n");

const poll = async (started) => {
  if (started !== generation) return;
  let wait = PERIOD;
  try {
    if (!document.hidden) {
      const query = new URLSearchParams({ attempt: attemptSelect.value, ...(next === null ? {} : { start: next }) });
      const response = await fetch(`${log.dataset.url}?${query}`);
      if (!response.ok) return;
      const part = await response.json();
      if (started !== generation) return;
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if (part.start !== next && next !== null) log.textContent = ""; // the log was truncated
      if (part.text) {
        const text = log.textContent + part.text;
        if (text.includes("\r")) log.textContent = resolveOverwrites(text);
        else log.append(part.text);
        if (log.textContent.length > MAX_LENGTH) log.textContent = log.textContent.slice(-MAX_LENGTH / 2);
        if (atEnd || next === null) log.scrollTop = log.scrollHeight;
        note.textContent = part.start > 0 && next === null ? "Shows only the end; the log file is complete." : note.textContent;
      }
      next = part.end;
      if (part.end < part.size) wait = 0;
      else if (!part.running) return;
    }
  } catch { /* the server is away: try again */ }
  setTimeout(poll, wait, started);
};

if (log) {
  poll(generation);
  attemptSelect.addEventListener("change", () => {
    generation += 1;
    next = null;
    log.textContent = "";
    poll(generation);
  });
}
