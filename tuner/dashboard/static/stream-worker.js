// One event stream for all tabs: over HTTP/1.1 a browser opens six connections to a server, so with
// one stream per tab the seventh tab would wait forever.

const ports = new Set();
let source = null;
let hello = null; // the latest one, for tabs that open later
let silent = true;

const broadcast = (message) => ports.forEach((port) => port.postMessage(message));

const open = () => {
  source = new EventSource("/api/v1/stream");
  for (const name of ["hello", "trials", "study", "resync"])
    source.addEventListener(name, ({ data }) => {
      const detail = JSON.parse(data);
      if (name === "hello") hello = detail;
      else if (hello && detail.version) hello.versions[detail.study] = detail.version;
      silent = false;
      broadcast({ name, detail });
    });
  source.onerror = () => {
    if (!silent) broadcast({ name: "silent", detail: {} });
    silent = true;
    // it reconnects by itself, but not after an error response (such as an expired login)
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
