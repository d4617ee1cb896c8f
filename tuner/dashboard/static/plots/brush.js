// What a user selects in a figure ↔ conditions on columns, which the server understands.

// A position on an axis of the drawing → the column's value.
const toValue = (axis, position) => (axis.kind === "log" ? 10 ** position : position);

const condition = (axis, low, high) => {
  if (low > high) [low, high] = [high, low];
  if (axis.kind !== "categories") return [axis.column, [toValue(axis, low), toValue(axis, high)]];
  const categories = axis.categories.filter((_, i) => i + 0.3 >= low && i - 0.3 <= high);
  return categories.length ? [axis.column, ...categories] : null;
};

const suffix = (key) => Number(key.slice(1) || 1) - 1; // "x3" → 2

// The conditions of a box drawn in a scatter plot; null if the plot has no such axes.
export const ofBox = (brush, range) => {
  const keys = Object.keys(range ?? {});
  const panel = brush[Math.max(...keys.map(suffix))];
  if (!panel) return null;
  return keys.flatMap((key) => {
    const axis = panel[key[0]];
    const where = axis && condition(axis, ...range[key]);
    return where ? [where] : [];
  });
};

// The conditions of the brushes along parallel axes.
export const ofParallel = (brush, dimensions) => dimensions.flatMap((dimension, i) => {
  const ranges = dimension.constraintrange;
  if (!ranges?.length) return [];
  const wheres = (Array.isArray(ranges[0]) ? ranges : [ranges])
    .map(([low, high]) => condition(brush[0].dimensions[i], low, high)).filter(Boolean);
  return wheres.length ? [[wheres[0][0], ...new Set(wheres.flatMap(([, ...parts]) => parts))]] : [];
});

// And back: a figure that is drawn again shows its brush.
export const toParallel = (brush, wheres, dimensions) => {
  dimensions.forEach((dimension, i) => {
    const axis = brush[0].dimensions[i];
    const where = wheres.find(([column]) => column === axis.column);
    if (!where) return;
    const toPosition = (v) => (axis.kind === "log" ? Math.log10(v) : v);
    const ranges = axis.kind === "categories"
      ? where.slice(1).map((c) => axis.categories.indexOf(c)).filter((k) => k >= 0).map((k) => [k - 0.3, k + 0.3])
      : where.slice(1).map(([low, high]) => [low === null ? dimension.range[0] : toPosition(low), high === null ? dimension.range[1] : toPosition(high)]);
    if (ranges.length) dimension.constraintrange = ranges;
  });
};
