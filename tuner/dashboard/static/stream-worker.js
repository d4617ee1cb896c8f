// One stream of events for all tabs: a browser opens six connections to a server over HTTP/1.1, so
// that with a stream a tab the seventh one would wait for ever.

const ports = new Set();
let source = null;
let hello = null; // the latest one, for tabs that come later
let silent = true;

const tell = (message) => ports.forEach((port) => port.postMessage(message));

const open = () => {
  source = new EventSource("/api/v1/stream");
  for (const name of ["hello", "trials", "study", "resync"])
    source.addEventListener(name, ({ data }) => {
      const detail = JSON.parse(data);
      if (name === "hello") hello = detail;
      else if (hello && detail.version) hello.versions[detail.study] = detail.version;
      silent = false;
      tell({ name, detail });
    });
  source.onerror = () => {
    if (!silent) tell({ name: "silent", detail: {} });
    silent = true;
    // it connects again by itself, but not after an answer that is an error (a login that ended)
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 5000);
  };
};

onconnect = ({ ports: [port] }) => {
  ports.add(port);
  port.onmessage = ({ data }) => { if (data === "bye") ports.delete(port); };
  port.start();
  if (!source) open();
  else if (hello && !silent) port.postMessage({ name: "hello", detail: hello });
};
