// Writes plotly.min.js, its style sheet and the licences of all that is in it to the dashboard's vendor folder.
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const vendor = here("../../tuner/dashboard/static/vendor/");

const { metafile } = await build({
  entryPoints: [here("entry.cjs")],
  absWorkingDir: here("."),
  outfile: `${vendor}plotly.min.js`,
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Plotly",
  // as in plotly.js' own esbuild-config.js, which its package has without the tasks that use it
  alias: { regl: "@plotly/regl", stream: "stream-browserify" },
  define: { global: "window", "define.amd": "false", "process.env.NODE_DEBUG": "false" },
  // maplibre's style sheet comes with the core although no map is in this bundle
  loader: { ".css": "empty" },
  target: "es2020",
  banner: { js: "//# allFunctionsCalledOnLoad" },
  legalComments: "none", // the licences are written below
  metafile: true,
  logLevel: "warning",
});

// plotly.js would add these rules with a style element, which the policy forbids
copyFileSync(here("node_modules/plotly.js/dist/plotly.css"), `${vendor}plotly.css`);

const packageOf = (input) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
const folders = [...new Set(Object.keys(metafile.inputs).map(packageOf))].filter(Boolean).sort();
const licences = folders.map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(here(join(folder, "package.json"))));
  const file = readdirSync(here(folder)).find((f) => /^(licen[cs]e|copying)/i.test(f));
  const text = file ? readFileSync(here(join(folder, file)), "utf8").trim() : "";
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(`${vendor}plotly.LICENSES.txt`, licences.join(`\n${"-".repeat(72)}\n\n`));
