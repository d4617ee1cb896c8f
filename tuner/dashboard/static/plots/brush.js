// What a person drags in a figure ↔ conditions on columns, which the server understands.

// A position on an axis as the drawing has it → the column's value.
const value = (axis, position) => (axis.kind === "log" ? 10 ** position : position);

const condition = (axis, low, high) => {
  if (low > high) [low, high] = [high, low];
  if (axis.kind !== "categories") return [axis.column, [value(axis, low), value(axis, high)]];
  const inside = axis.categories.filter((_, i) => i + 0.3 >= low && i - 0.3 <= high);
  return inside.length ? [axis.column, ...inside] : null;
};

const suffix = (key) => Number(key.slice(1) || 1) - 1; // "x3" → 2

// Conditions of a box drawn in a plot of points; null where there is nothing in it.
export const ofBox = (brush, range) => {
  const keys = Object.keys(range ?? {});
  const panel = brush[Math.max(...keys.map(suffix))];
  if (!panel) return null;
  return keys.flatMap((key) => {
    const axis = panel[key[0]];
    const found = axis && condition(axis, ...range[key]);
    return found ? [found] : [];
  });
};

// Conditions of the brushes along parallel axes.
export const ofParallel = (brush, dimensions) => dimensions.flatMap((dimension, i) => {
  const ranges = dimension.constraintrange;
  if (!ranges?.length) return [];
  const each = (Array.isArray(ranges[0]) ? ranges : [ranges]).map(([low, high]) => condition(brush[0].dimensions[i], low, high));
  const found = each.filter(Boolean);
  return found.length ? [[found[0][0], ...new Set(found.flatMap((one) => one.slice(1)))]] : [];
});

// And back: a figure that is drawn anew shows the brush that it has.
export const toParallel = (brush, wheres, dimensions) => {
  dimensions.forEach((dimension, i) => {
    const axis = brush[0].dimensions[i];
    const where = wheres.find(([column]) => column === axis.column);
    if (!where) return;
    const at = (v) => (axis.kind === "log" ? Math.log10(v) : v);
    const ranges = axis.kind === "categories"
      ? where.slice(1).map((c) => axis.categories.indexOf(c)).filter((k) => k >= 0).map((k) => [k - 0.3, k + 0.3])
      : where.slice(1).map(([low, high]) => [low === null ? dimension.range[0] : at(low), high === null ? dimension.range[1] : at(high)]);
    if (ranges.length) dimension.constraintrange = ranges;
  });
};
