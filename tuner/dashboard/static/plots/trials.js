// The tab Trials: the filter and the table.

import * as filter from "./filter.js";
import "./table.js";

for (const root of document.querySelectorAll("form.choice")) filter.attachBar(root);
