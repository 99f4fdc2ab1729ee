"use strict";

// The buttons of plotly's mode bar: useful ones that send nothing to another host.
const MODE_BAR = [["toImage", "resetScale2d"]];

// Figures use the page's colours, and are plotted again when the reader switches between light and dark.
const figuresElement = document.getElementById("figures");
const figures = figuresElement ? JSON.parse(figuresElement.textContent) : {};

function themed(layout) {
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink").trim(), line = css.getPropertyValue("--line").trim();
  const themed = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { ...layout.font, color: ink }, autosize: true };
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(key)) themed[key] = { ...layout[key], gridcolor: line, zerolinecolor: line, linecolor: line };
  }
  themed.annotations = (layout.annotations ?? []).map((note) => ({ ...note, font: { ...note.font, color: ink } }));
  return themed;
}

// Plotly chooses white or black for a heatmap's text as if the cells were opaque, but ours are translucent.
function withTextColour(data) {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  return structuredClone(data).map((trace) => (trace.type === "heatmap" && trace.texttemplate ? { ...trace, textfont: { color: ink } } : trace));
}

function plotAll() {
  for (const [name, figure] of Object.entries(figures)) {
    const element = document.getElementById(name);
    if (!element) continue;
    const size = printing ? { width: PAPER_WIDTH, autosize: false } : {};
    Plotly.react(element, withTextColour(figure.data), { ...themed(figure.layout), ...size }, { responsive: true, displaylogo: false, modeBarButtons: MODE_BAR });
  }
}

// On paper, figures have the colours of a light page and the width of the narrowest usual sheet.
const PAPER_WIDTH = 660;
let printing = false;

function setPrinting(now) {
  printing = now;
  document.documentElement.classList.toggle("printing", now);
  plotAll();
}

if (figuresElement) {
  plotAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plotAll);
  addEventListener("beforeprint", () => setPrinting(true));
  addEventListener("afterprint", () => setPrinting(false));
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // A page opened from a file may not write to the clipboard, so select the command for the reader to copy.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

const table = document.getElementById("trials");
if (table) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter"), state = document.getElementById("state"), shown = document.getElementById("shown");

  function key(row, column) {
    const cell = row.cells[column], value = cell.dataset.value;
    return value === undefined ? cell.textContent : Number(value);
  }

  // Empty cells come last in both directions.
  function sort(column, descending) {
    const sign = descending ? -1 : 1;
    const keyed = rows.map((row) => [key(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      if (typeof a === "number" && typeof b === "number") return sign * (a - b);
      return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
    });
    body.append(...keyed.map(([, row]) => row));
    heads.forEach((head, at) => head.setAttribute("aria-sort", at === column ? (descending ? "descending" : "ascending") : "none"));
  }

  // A row must match every word of the filter. A plain word matches any cell; accuracy>99%, parameters<=5,000 and
  // state=done compare a column. Numbers may have thousands separators, a percent sign or a unit, as in the table.
  const names = heads.map((head) => head.textContent.trim().toLowerCase());
  const shares = heads.map((_, column) => rows.some((row) => row.cells[column].textContent.trim().endsWith("%")));

  // Returns a predicate on rows for one word; null if its column does not exist or its bound is not a number.
  function condition(word) {
    const [, name, sign, bound] = /^([^<>=]+)([<>]=?|=)(.*)$/.exec(word) ?? [];
    if (name === undefined) return (row) => row.textContent.toLowerCase().includes(word);
    const column = names.indexOf(name);
    if (column < 0 || bound === "") return null;
    const [, digits, unit] = /^(-?[\d.,]+(?:e[+-]?\d+)?)(%|s)?$/.exec(bound) ?? [];
    const number = digits === undefined ? NaN : Number(digits.replaceAll(",", ""));
    if (Number.isNaN(number)) return sign === "=" ? (row) => row.cells[column].textContent.trim().toLowerCase() === bound : null;
    const asShown = (text) => text.toLowerCase().replace(/[,\s]/g, "");
    const limit = shares[column] && (unit === "%" || number > 1) ? number / 100 : number;
    return (row) => {
      const cell = row.cells[column], value = Number(cell.dataset.value);
      if (sign === "=" && asShown(cell.textContent) === asShown(bound)) return true;
      if (cell.dataset.value === undefined) return false;
      if (Math.abs(value - limit) <= 1e-9 * Math.abs(limit)) return sign.includes("=");
      return sign.startsWith("<") ? value < limit : sign.startsWith(">") && value > limit;
    };
  }

  function show() {
    const words = filter.value.toLowerCase().replace(/\s*([<>]=?|=)\s*/g, "$1").split(/\s+/).filter(Boolean);
    const conditions = words.map(condition), unclear = words.filter((_, at) => conditions[at] === null);
    let count = 0;
    for (const row of rows) {
      row.hidden = (state.value !== "" && row.dataset.state !== state.value) || !conditions.every((test) => test === null || test(row));
      count += row.hidden ? 0 : 1;
    }
    const columns = names.join(", ");
    shown.textContent = `${count} of ${rows.length} trials` + (unclear.length ? `; not understood: ${unclear.join(" ")} (a column is one of ${columns})` : "");
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    sort(column, head.getAttribute("aria-sort") === "ascending");
  }));
  filter.addEventListener("input", show);
  state.addEventListener("change", show);
  show();
}
