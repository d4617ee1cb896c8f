// Changes as DOM events on the document: `tuner:trials`, `tuner:study`, `tuner:hello`.
//
// `tuner:hello` comes with every new connection and holds the studies' versions: a figure that shows
// another version is requested again, so nothing is missed while there is no connection.

const dispatch = ({ name, detail }) => {
  document.documentElement.toggleAttribute("data-silent", name === "silent");
  if (name === "resync") document.dispatchEvent(new CustomEvent("tuner:resync"));
  else document.dispatchEvent(new CustomEvent(`tuner:${name}`, { detail }));
};

const openStream = () => {
  const source = new EventSource("/api/v1/stream");
  for (const name of ["hello", "trials", "study", "resync"])
    source.addEventListener(name, ({ data }) => dispatch({ name, detail: JSON.parse(data) }));
  source.onerror = () => dispatch({ name: "silent", detail: {} });
};

if (window.SharedWorker) {
  const worker = new SharedWorker(new URL("stream-worker.js", import.meta.url), { name: "tuner stream" });
  worker.port.onmessage = ({ data }) => dispatch(data);
  worker.port.start();
  addEventListener("pagehide", () => worker.port.postMessage("bye"));
  // a page restored from the back-forward cache has already said bye
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
} else openStream();
