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
  // Lines run behind the labels of parallel axes.
  const behind = css.getPropertyValue("--card").trim();
  themed.annotations = (layout.annotations ?? []).map((note) => ({ ...note, font: { ...note.font, color: ink }, ...(note.name === "tick" ? { bgcolor: behind } : {}) }));
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
  const wide = document.getElementById("trials");
  if (!wide) return;
  wide.style.fontSize = "";
  const share = PAPER_WIDTH / wide.offsetWidth;
  if (now && share < 1) wide.style.fontSize = `${11 * share * 0.98}px`;
}

plotAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", plotAll);
addEventListener("beforeprint", () => setPrinting(true));
addEventListener("afterprint", () => setPrinting(false));

async function copy(button) {
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
}

for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copy(button));

// A command with its button.
function commandElement(text, label) {
  const frame = document.createElement("div"), pre = document.createElement("pre"), code = document.createElement("code");
  frame.className = "command";
  pre.tabIndex = 0;
  pre.setAttribute("aria-label", label);
  code.textContent = text;
  pre.append(code);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${label}`);
  button.addEventListener("click", () => copy(button));
  frame.append(pre, button);
  return frame;
}

const table = document.getElementById("trials");
if (table) {
  const LIMIT = 50;
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter"), state = document.getElementById("state"), shown = document.getElementById("shown");
  const rejectedToo = document.getElementById("rejected-too"), showAll = document.getElementById("show-all");
  const details = JSON.parse(document.getElementById("details").textContent);
  let order = rows, isLimited = true;

  // The second column sticks to the right edge of the first.
  new ResizeObserver(() => table.style.setProperty("--first", `${heads[0].offsetWidth}px`)).observe(heads[0]);

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
    closeAll();
    order = keyed.map(([, row]) => row);
    body.append(...order);
    heads.forEach((head, at) => head.setAttribute("aria-sort", at === column ? (descending ? "descending" : "ascending") : "none"));
    show();
  }

  // A row must match every word of the filter. A plain word matches any cell; accuracy>99%, parameters<=5,000 and
  // state=done compare a column. Numbers may have thousands separators, a percent sign or a unit, as in the table.
  // A searched parameter can be compared too, even if it has no column of its own.
  const names = heads.map((head) => head.textContent.trim().toLowerCase());
  const shares = heads.map((_, column) => rows.some((row) => row.cells[column].textContent.trim().endsWith("%")));

  function cellOf(row, column) {
    if (column < names.length) return { text: row.cells[column].textContent.trim(), value: row.cells[column].dataset.value };
    const value = details.rows[row.cells[0].dataset.value].values[column - names.length];
    return { text: value === null ? "" : String(value), value: typeof value === "number" ? value : undefined };
  }

  // Returns a predicate on rows for one word; null if its column does not exist or its bound is not a number.
  function condition(word) {
    const [, name, sign, bound] = /^([^<>=]+)([<>]=?|=)(.*)$/.exec(word) ?? [];
    if (name === undefined) return (row) => row.textContent.toLowerCase().includes(word);
    const column = [...names, ...details.names].indexOf(name);
    if (column < 0 || bound === "") return null;
    const [, digits, unit] = /^(-?[\d.,]+(?:e[+-]?\d+)?)(%|s)?$/.exec(bound) ?? [];
    const number = digits === undefined ? NaN : Number(digits.replaceAll(",", ""));
    if (Number.isNaN(number)) return sign === "=" ? (row) => cellOf(row, column).text.toLowerCase() === bound : null;
    const asShown = (text) => text.toLowerCase().replace(/[,\s]/g, "");
    const limit = shares[column] && (unit === "%" || number > 1) ? number / 100 : number;
    return (row) => {
      const cell = cellOf(row, column), value = Number(cell.value);
      if (sign === "=" && asShown(cell.text) === asShown(bound)) return true;
      if (cell.value === undefined) return false;
      if (Math.abs(value - limit) <= 1e-9 * Math.abs(limit)) return sign.includes("=");
      return sign.startsWith("<") ? value < limit : sign.startsWith(">") && value > limit;
    };
  }

  // Rejected proposals are hidden until they are asked for: by the box, by their state or in the filter.
  function show() {
    const words = filter.value.toLowerCase().replace(/\s*([<>]=?|=)\s*/g, "$1").replace(/([<>=]-?[\d.,]+(?:e[+-]?\d+)?)\s+([%s])(?=\s|$)/g, "$1$2").split(/\s+/).filter(Boolean);
    const conditions = words.map(condition), unclear = words.filter((_, at) => conditions[at] === null);
    const withRejected = rejectedToo === null || rejectedToo.checked || state.value === "rejected" || words.some((word) => word.includes("rejected"));
    let count = 0, hidden = 0, total = 0;
    for (const row of order) {
      const matches = (state.value === "" || row.dataset.state === state.value) && conditions.every((test) => test === null || test(row));
      const isHidden = row.dataset.state === "rejected" && !withRejected;
      total += isHidden ? 0 : 1;
      hidden += matches && isHidden ? 1 : 0;
      count += matches && !isHidden ? 1 : 0;
      row.hidden = !matches || isHidden || (isLimited && count > LIMIT);
    }
    for (const row of body.querySelectorAll("tr.details")) row.hidden = row.previousElementSibling.hidden;
    showAll.hidden = !isLimited || count <= LIMIT;
    showAll.textContent = `Show all ${count}`;
    const columns = names.join(", ");
    shown.textContent = `${count} of ${total} trials`
      + (isLimited && count > LIMIT ? `, the first ${LIMIT} shown` : "")
      + (hidden && words.length ? `; ${hidden} rejected also match` : "")
      + (unclear.length ? `; not understood: ${unclear.join(" ")} (a column is one of ${columns})` : "");
  }

  // A row opens to its values, its learning curve and its commands.
  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text ?? "";
    return made;
  }

  function curveElement(curve) {
    const values = curve.map(([, value]) => value), low = Math.min(...values), high = Math.max(...values);
    const first = curve[0][0], last = curve[curve.length - 1][0];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "polyline");
    svg.setAttribute("viewBox", "0 0 100 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    line.setAttribute("points", curve.map(([step, value]) => `${last > first ? (100 * (step - first)) / (last - first) : 50},${high > low ? 100 - (100 * (value - low)) / (high - low) : 50}`).join(" "));
    svg.append(line);
    return svg;
  }

  const asText = (value) => (details.percent ? `${(100 * value).toFixed(2)} %` : String(value));

  function detailOf(row) {
    const detail = details.rows[row.cells[0].dataset.value], frame = document.createElement("div"), list = document.createElement("dl");
    if (detail.reason) frame.append(element("p", detail.reason));
    list.className = "values";
    details.keys.forEach((name, at) => {
      if (detail.values[at] === null) return;
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", String(detail.values[at])));
      list.append(pair);
    });
    frame.append(list);
    if (detail.curve?.length) {
      if (detail.curve.length > 1) frame.append(curveElement(detail.curve));
      frame.append(element("p", `By epoch: ${detail.curve.map(([, value]) => asText(value)).join(", ")}.`));
    }
    if (detail.run !== undefined) {
      for (const [label, command] of details.commands) {
        const at = command.lastIndexOf("TRIAL");
        frame.append(element("small", label), commandElement(command.slice(0, at) + detail.run + command.slice(at + 5), `the command to ${label}`));
      }
    }
    const opened = document.createElement("tr"), cell = document.createElement("td");
    opened.className = "details";
    cell.className = "detail";
    cell.colSpan = heads.length;
    cell.append(frame);
    opened.append(cell);
    return opened;
  }

  function toggle(row, open) {
    const button = row.querySelector(".open"), isOpen = button.getAttribute("aria-expanded") === "true";
    if (isOpen === open) return;
    button.setAttribute("aria-expanded", String(open));
    if (open) row.after(detailOf(row));
    else row.nextElementSibling.remove();
  }

  function closeAll() {
    for (const row of rows) toggle(row, false);
  }

  // A click on a figure's point leads to the row of its trial, even if a filter hides it.
  function find(number) {
    const row = document.getElementById(`trial-${number}`);
    if (!row) return;
    if (row.hidden) {
      filter.value = state.value = "";
      show();
      row.hidden = false;
    }
    for (const other of body.querySelectorAll(".found")) other.classList.remove("found");
    row.classList.add("found");
    toggle(row, true);
    row.scrollIntoView({ block: "center", behavior: "instant" });
    row.querySelector(".open").focus({ preventScroll: true });
  }

  for (const plot of document.querySelectorAll(".plot")) {
    plot.on("plotly_click", (event) => {
      const number = event.points[0].customdata;
      if (Number.isInteger(number)) find(number);
    });
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest(".open");
    if (button) toggle(button.closest("tr"), button.getAttribute("aria-expanded") !== "true");
  });
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    sort(column, now === "none" ? head.dataset.descending !== undefined : now === "ascending");
  }));
  filter.addEventListener("input", show);
  state.addEventListener("change", show);
  rejectedToo?.addEventListener("change", show);
  showAll.addEventListener("click", () => { isLimited = false; show(); });
  show();
}
