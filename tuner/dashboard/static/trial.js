// The trial's log, from its end on, followed while the trial runs.
const PERIOD = 1000; // milliseconds between looks
const KEPT = 400000; // characters that the page holds

const log = document.getElementById("log");
const note = document.getElementById("log-note");
const chosen = document.getElementById("log-attempt");
let next = null; // the byte that comes next
let turn = 0; // counts changes of the attempt: what was asked for before is dropped

// Of each line what a terminal shows in the end: progress bars write over themselves.
const overwritten = (text) => text.replaceAll("\r\n", "\n").split("\n").map((line) => {
  const end = line.endsWith("\r") ? line.length - 1 : line.length; // what comes next writes over it
  return line.slice(line.lastIndexOf("\r", end - 1) + 1);
}).join("\n");

const look = async (mine) => {
  if (mine !== turn) return;
  let wait = PERIOD;
  try {
    if (!document.hidden) {
      const query = new URLSearchParams({ attempt: chosen.value, ...(next === null ? {} : { start: next }) });
      const answer = await fetch(`${log.dataset.url}?${query}`);
      if (!answer.ok) return;
      const part = await answer.json();
      if (mine !== turn) return;
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if (part.start !== next && next !== null) log.textContent = ""; // it was shortened
      if (part.text) {
        const text = log.textContent + part.text;
        if (text.includes("\r")) log.textContent = overwritten(text);
        else log.append(part.text);
        if (log.textContent.length > KEPT) log.textContent = log.textContent.slice(-KEPT / 2);
        if (atEnd || next === null) log.scrollTop = log.scrollHeight;
        note.textContent = part.start > 0 && next === null ? "The end of it; the file has all." : note.textContent;
      }
      next = part.end;
      if (part.end < part.size) wait = 0;
      else if (!part.running) return;
    }
  } catch { /* the server is away: the next look may find it */ }
  setTimeout(look, wait, mine);
};

if (log) {
  look(turn);
  chosen.addEventListener("change", () => {
    turn += 1;
    next = null;
    log.textContent = "";
    look(turn);
  });
}
