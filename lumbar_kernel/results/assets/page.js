"use strict";
const { run, studies, picture, names } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const table = byId("table");
const rows = [...table.tBodies[0].rows];
const numberOf = new Map(studies.map((study, number) => [study.id, number]));
let shown = studies.map((_, number) => number);
let asFrequencies = false;
let blobUrl = null;

/** An element with properties and children; text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const { data, style, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(style ?? {})) element.style.setProperty(name, value);
  for (const [name, value] of Object.entries(data ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const seconds = (value) => (value < 100 ? `${value.toFixed(1)} s` : value < 6000 ? `${(value / 60).toFixed(1)} min` : `${(value / 3600).toFixed(2)} h`);
const list = (items) => make("ul", { className: "notes" }, ...items.map((item) => make("li", {}, item)));

function showRun() {
  const allowed = run.budget_seconds;
  const stages = Object.entries(run.stages ?? {}).filter(([, value]) => value > 0);
  const total = stages.reduce((sum, [, value]) => sum + value, 0);
  const limit = allowed === null ? "no limit" : `of ${seconds(allowed)} allowed`;
  byId("summary").textContent = `${run.device}, ${seconds(run.seconds)} (${limit})`;
  const time = byId("time");
  if (allowed) {
    const share = Math.min(100, (100 * run.seconds) / allowed);
    const text = `${seconds(run.seconds)} of ${seconds(allowed)} used, ${share.toFixed(1)} %`;
    const used = make("span", { style: { width: `${share}%`, background: "var(--link)" } });
    time.append(make("h3", {}, "Budget"), make("div", { className: "bar", data: { role: "img", "aria-label": text } }, used), make("p", { className: "fine" }, text));
  }
  if (total > 0) {
    const ordered = stages.map(([name, value], index) => ({ name, value, colour: `hsl(${(210 + 137.5 * index) % 360} 50% 58%)` }));
    const parts = ordered.map(({ value, colour }) => make("span", { style: { width: `${(100 * value) / total}%`, background: colour } }));
    const keys = ordered.map(({ name, value, colour }) =>
      make("li", {}, make("i", { style: { background: colour } }), `${name} ${seconds(value)}`));
    time.append(
      make("h3", {}, "Seconds by stage, all workers together"),
      make("div", { className: "bar", data: { role: "img", "aria-label": `stages, ${seconds(total)} in all` } }, ...parts),
      make("ul", { className: "keys" }, ...keys),
    );
  }
  const facts = [["Device", run.device], ["Members", (run.members ?? []).join(", ") || "none"], ["Weights, SHA-256", run.weights_sha256 || "none"]];
  byId("facts").append(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  byId("notes").append(...run.notes.map((note) => make("li", {}, note)));
}

const KEYS = {
  id: (number) => number,
  severity: (number) => studies[number].severity,
  severe: (number) => studies[number].severe + studies[number].severity / 1000,
  moderate: (number) => studies[number].moderate + studies[number].severity / 1000,
  confidence: (number) => studies[number].confidence ?? -1,
  rows: (number) => studies[number].graded.reduce((sum, value) => sum + value, 0),
  notes: (number) => studies[number].missing.length + studies[number].failures.length,
};
const FILTERS = {
  all: () => true,
  severe: (number) => studies[number].severe > 0,
  noted: (number) => KEYS.notes(number) > 0,
  unsure: (number) => studies[number].confidence === null || studies[number].unsure.length > 0,
  incomplete: (number) => KEYS.rows(number) < names.rows.length,
};
let order = studies.map((_, number) => number);

function sortBy(button) {
  const header = button.closest("th");
  const first = button.dataset.first ?? "ascending";
  const now = header.getAttribute("aria-sort");
  const direction = now === null ? first : now === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const key = KEYS[button.dataset.sort];
  const sign = direction === "ascending" ? 1 : -1;
  order = studies.map((_, number) => number).sort((a, b) => sign * (key(a) - key(b)) || a - b);
  table.tBodies[0].append(...order.map((number) => rows[number]));
  filter();
}

function filter() {
  const words = byId("words").value.trim().toLowerCase();
  const fits = FILTERS[byId("kind").value];
  shown = order.filter((number) => {
    const { id, missing, failures } = studies[number];
    const hit = fits(number) && (!words || [id, ...missing, ...failures].some((text) => text.toLowerCase().includes(words)));
    rows[number].hidden = !hit;
    return hit;
  });
  byId("shown").textContent = shown.length === studies.length ? `${studies.length} studies` : `${shown.length} of ${studies.length} studies`;
}

function expected(values) {
  const shares = values.map((value, grade) => value / names.weights[grade]);
  const total = shares.reduce((sum, value) => sum + value, 0);
  return shares.map((value) => value / total);
}

function gradeCell(study, row) {
  const share = expected(study.p[row]);
  const values = asFrequencies ? share : study.p[row];
  const likeliest = share.indexOf(Math.max(...share));
  const byKernel = study.graded[row] === 1;
  const mixed = [0, 1, 2].map((channel) => Math.round(share.reduce((sum, value, grade) => sum + value * names.colours[grade][channel], 0)));
  const bar = values.map((value, grade) => make("span", { style: { width: `${100 * value}%`, background: `rgb(${names.colours[grade].join()})` } }));
  const numbers = values.map((value) => make("span", {}, value.toFixed(2)));
  const style = byKernel ? { background: `color-mix(in srgb, rgb(${mixed.join()}) var(--tint), var(--surface))` } : {};
  const title = names.grades.map((name, grade) => `${name} ${values[grade].toFixed(3)}`).join(", ");
  return make("td", {}, make("div", { className: byKernel ? "cell" : "cell prior", title, style },
    make("b", {}, byKernel ? names.grades[likeliest].replace("/", "/\u200b") : "prior"), make("span", {}, ...numbers), make("div", { className: "bar", data: { "aria-hidden": "true" } }, ...bar)));
}

function gradeTable(study) {
  const head = make("tr", {}, make("td"), ...names.columns.map(({ name }) => make("th", { scope: "col" }, name)));
  const body = names.levels.map((level, index) =>
    make("tr", {}, make("th", { scope: "row" }, level),
      ...names.columns.map(({ rows: targets }) => gradeCell(study, targets[index]))));
  return make("table", { className: "grades" },
    make("caption", { className: "hidden" }, `Likeliest grade and the probabilities of ${names.grades.join(", ")}`),
    make("thead", {}, head), make("tbody", {}, ...body));
}

function gradeSection(study) {
  const holder = make("div", { className: "scroll" }, gradeTable(study));
  const choice = (label, value) => {
    const input = make("input", { type: "radio", name: "values", checked: asFrequencies === value });
    input.addEventListener("change", () => { asFrequencies = value; holder.replaceChildren(gradeTable(study)); });
    return make("label", {}, input, ` ${label}`);
  };
  return [make("h3", {}, "Grades"), make("fieldset", { className: "choice" },
    make("legend", { className: "hidden" }, "Numbers shown"),
    choice("probabilities as submitted", false), choice("expected frequencies (without the loss's weights)", true)), holder];
}

function pictureUrl(study, number) {
  if (study.picture === "beside") return study.file;
  const raw = atob(byId(`picture-${number}`).textContent);
  blobUrl = URL.createObjectURL(new Blob([Uint8Array.from(raw, (letter) => letter.charCodeAt(0))], { type: "image/jpeg" }));
  return blobUrl;
}

function panel(url, [left, top, width, height], label) {
  const { width: all, height: high } = picture;
  return make("button", { type: "button", className: "panel", data: { "aria-label": label }, style: {
    "background-image": `url("${url}")`,
    "background-size": `${(100 * all) / width}% ${(100 * high) / height}%`,
    "background-position": `${(100 * left) / (all - width)}% ${(100 * top) / (high - height)}%`,
  } });
}

/** Show a panel as large as the window; arrow keys lead to the others, Escape and a click back. */
function enlarge(chosen, groups) {
  if (!chosen) return;
  const all = groups.flatMap((group) => [...group.children]);
  const large = byId("large");
  let place = all.indexOf(chosen);
  const draw = () => { large.replaceChildren(all[place].cloneNode()); large.firstChild.focus(); };
  large.onclick = () => large.close();
  large.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") event.stopPropagation();
    if (step) { place = (place + step + all.length) % all.length; draw(); event.preventDefault(); }
  };
  large.onclose = () => all[place].focus();
  large.showModal();
  draw();
}

function pictureSection(study, number) {
  if (study.picture === "none") return [make("h3", {}, "Pictures"), make("p", { className: "fine" }, "No picture was drawn of this study; `predict --html` or `--pictures N` draws them.")];
  const url = pictureUrl(study, number);
  const labels = {
    sagittal: ["canal at the five levels", "the other sagittal series", "right foramina", "left foramina"].map((what) => `Sagittal: ${what}`),
    axial: names.levels.map((level) => `Axial T2 at ${level} with both recesses`),
    crops: names.levels.map((level) => `Graded crops at ${level}: right and left foramen, canal, axial`),
  };
  const panels = (name) => picture.panels[name].map((place, index) => panel(url, place, `${labels[name][index]}, study ${study.id}`));
  const groups = [
    make("div", { className: "panels sagittal" }, ...panels("sagittal")),
    make("div", { className: "panels levels" }, ...panels("axial"), ...panels("crops")),
  ];
  for (const group of groups) group.addEventListener("click", ({ target }) => enlarge(target.closest(".panel"), groups));
  const legend = make("ul", { className: "legend" }, ...names.marks.map(([colour, text]) => make("li", {}, make("i", { style: { background: `rgb(${colour.join()})`, border: "1px solid var(--faint)" } }), text)),
    make("li", {}, make("i", { className: "ring" }), `ring: ${names.ring}`));
  const gone = make("p", { className: "fine", hidden: true }, `This page holds the first pictures itself; this one is loaded from ${study.file}, which is not beside it.`);
  const probe = new Image();
  probe.onerror = () => { gone.hidden = false; for (const group of groups) group.hidden = true; };
  probe.src = url;
  return [make("h3", {}, "Pictures"), legend, gone, ...groups, make("p", { className: "fine" }, make("a", { href: url, target: "_blank", rel: "noopener" }, "the whole picture"))];
}

function seriesSection(study) {
  const lines = study.series.map(([id, role, slices]) => make("tr", {}, make("td", {}, role), make("td", {}, `${slices} slices`), make("td", { className: "fine" }, id)));
  const levels = study.levels.map((value, index) => (value === null || value === undefined ? null : `${names.levels[index]} ${value.toFixed(2)}`)).filter(Boolean);
  return [make("h3", {}, "Series used"),
    lines.length ? make("table", { className: "series" }, make("tbody", {}, ...lines)) : make("p", {}, "none"),
    make("p", { className: "fine" }, `Members: ${study.members.join(", ") || "none"}`),
    make("p", { className: "fine" }, levels.length ? `Confidence of the levels: ${levels.join(", ")}` : "The levels were not found."),
    ...(study.unsure.length ? [make("p", { className: "fine" }, `Confidence below ${names.unsure}: ${study.unsure.join(", ")}`)] : [])];
}

function show(number, { focus = true } = {}) {
  const study = studies[number];
  if (blobUrl) URL.revokeObjectURL(blobUrl);
  blobUrl = null;
  for (const row of table.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
  rows[number].classList.add("chosen");
  const place = shown.indexOf(number);
  const step = (label, to) => {
    const button = make("button", { type: "button", disabled: to === undefined }, label);
    button.addEventListener("click", () => { if (to !== undefined) location.hash = `study=${encodeURIComponent(studies[to].id)}`; });
    return button;
  };
  const close = make("button", { type: "button", id: "close" }, "All studies");
  close.addEventListener("click", () => { location.hash = ""; });
  const missing = [...study.failures.map((text) => `failed: ${text}`), ...study.missing];
  byId("detail").replaceChildren(
    make("div", { className: "top" }, make("h2", {}, `Study ${study.id}`), close,
      step("Previous", place > 0 ? shown[place - 1] : undefined), step("Next", place >= 0 ? shown[place + 1] : undefined)),
    ...gradeSection(study),
    ...(missing.length ? [make("h3", {}, "Missing or failed"), list(missing)] : [make("p", { className: "fine" }, "Nothing was missing and nothing failed.")]),
    ...pictureSection(study, number),
    ...seriesSection(study),
  );
  document.body.classList.add("open");
  if (focus) { byId("detail").focus({ preventScroll: true }); if (matchMedia("(max-width: 1100px)").matches) scrollTo(0, 0); }
}

function followHash() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("study");
  if (wanted !== null && numberOf.has(wanted)) return show(numberOf.get(wanted));
  document.body.classList.remove("open");
}

table.tHead.addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) sortBy(button); });
table.tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  if (row && !event.target.closest("a")) row.querySelector("a").click();
});
table.tBodies[0].addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const place = shown.indexOf(rows.indexOf(event.target.closest("tr")));
  const next = shown[place + (event.key === "ArrowDown" ? 1 : -1)];
  if (next !== undefined) { rows[next].querySelector("a").focus(); event.preventDefault(); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && document.body.classList.contains("open")) location.hash = ""; });
byId("words").addEventListener("input", filter);
byId("kind").addEventListener("change", filter);
window.addEventListener("hashchange", followHash);
showRun();
filter();
if (location.hash) followHash();
else if (studies.length && !matchMedia("(max-width: 1100px)").matches) show(0, { focus: false });
