// ---- requests and messages ------------------------------------------------------------------

const query = `token=${encodeURIComponent(token)}`; // of pictures and sockets, which take no header

async function exchange(path, { read = "json", ...options } = {}) {
  const signal = AbortSignal.timeout(ANSWER_MS);
  const answer = await fetch(path, { ...options, signal, headers: { ...authorization, ...options.headers } });
  // A refusal of the server itself, as of one connection too many, is plain text.
  const body = await (answer.ok ? answer[read]() : answer.json().catch(() => ({})));
  if (!answer.ok) throw new Error(body.error ?? answer.statusText);
  return { body, headers: answer.headers };
}

const ask = async (path, options) => (await exchange(path, options)).body;
function reason(error) {
  if (error.name === "TimeoutError") return "no answer; try again";
  return error instanceof TypeError ? "no connection; try again" : error.message; // of `fetch`
}

function show(message) {
  const note = element("p", {}, message);
  byId("toasts").append(note);
  while (byId("toasts").children.length > 3) byId("toasts").firstChild.remove();
  setTimeout(() => note.remove(), 5000);
}

// ---- settings: what the schema says, in this order ---------------------------------------

const GROUPS = [
  ["Look", ["profile", "gallery", "match", "tile", "columns", "fine", "tint", "overlay", "overlay_luma", "calm", "variety"]],
  ["People", ["area", "outside"]],
  ["Picture", ["mirror", "spotlight"]],
];
const BUTTONS = ["privacy", "freeze", "recording", "qr"];
const FOLDED = "More settings";
// How a value is entered, where its type and bounds do not say it.
const LOOKS = {
  max_latency_s: { number: true, step: 0.01, unit: "s" },
  spotlight: { number: true, step: 0.5, unit: "s" },
  tile: { step: 2, unit: "px" },
  activity: { step: 1 },
};
const LONGEST_SLIDER = 4096;

const controls = new Map(); // by option: { set(value), box }

function build(properties) {
  const placed = new Set(BUTTONS);
  const form = byId("settings");
  for (const [title, names] of GROUPS) {
    const known = names.filter((name) => name in properties);
    const id = `group-${title}`;
    const group = element("section", { class: "group card", "aria-labelledby": id }, element("h2", { id }, title));
    for (const name of known) { placed.add(name); group.append(control(name, properties[name])); }
    if (known.length) form.append(group);
  }
  const rest = element("div");
  for (const name of Object.keys(properties)) if (!placed.has(name)) rest.append(control(name, properties[name]));
  form.append(element("details", { class: "group card" }, element("summary", {}, FOLDED), rest));
  for (const button of document.querySelectorAll("[data-option]")) {
    const name = button.dataset.option;
    button.title = properties[name].description;
    controls.set(name, { box: button, set: (value) => button.setAttribute("aria-pressed", String(value)) });
    button.addEventListener("click", () => change(name, flip(button)));
  }
}

const words = (name) => name.replace(/_s$/, "").replaceAll("_", " ").replace(/^./, (it) => it.toUpperCase());
const text = (value) => (Array.isArray(value) ? value.map(short).join(", ") : short(value));
// Of a path, its last part; an address stays.
const short = (value) => (value.includes("://") ? value : value.replace(/[\\/]+$/, "").split(/[\\/]/).pop());

function control(name, schema) {
  const make = schema.anyOf ? colourChoice : schema.enum ? (schema.enum.length > 3 ? selection : choices)
    : schema.type === "boolean" ? toggle : schema.type === "string" ? entry : number; // also of two sides
  const { box, set } = make(name, schema);
  box.classList.add("option");
  box.append(element("p", { class: "help", id: `help-${name}` }, schema.description));
  const note = element("p", { class: "note", hidden: true });
  box.append(note);
  controls.set(name, { box, set, note });
  return box;
}

function titled(name) {
  return element("label", { for: `option-${name}` }, words(name));
}

function basics(name) {
  return { id: `option-${name}`, name, "aria-describedby": `help-${name}` };
}

function number(name, schema) {
  const look = LOOKS[name] ?? {};
  const isShare = schema.maximum <= 1;
  const isSlider = !look.number && schema.maximum <= LONGEST_SLIDER;
  const step = look.step ?? (isShare ? 0.01 : 1);
  const bounds = { min: schema.minimum, max: schema.maximum, step };
  const input = element("input", { type: isSlider ? "range" : "number", inputmode: isSlider ? undefined : "decimal", ...bounds, ...basics(name) });
  const unit = look.unit ? ` ${look.unit}` : "";
  const shown = (value) => (isShare ? `${Math.round(value * 100)} %` : `${value}${unit}`);
  if (isSlider) {
    const output = element("output", { for: input.id });
    const set = (value) => {
      input.value = parseFloat(value);
      output.textContent = shown(value);
      input.setAttribute("aria-valuetext", shown(value));
    };
    let before;
    input.addEventListener("input", () => {
      if (!kept.has(name)) before = values[name]; // not of an answer, which was rounded
      change(name, sized(Number(input.value), before));
    });
    return { box: element("div", {}, element("div", { class: "top" }, titled(name), output), input), set };
  }
  input.addEventListener("change", () => {
    if (input.value !== "" && input.checkValidity()) change(name, Number(input.value));
    else { input.reportValidity(); release(name); }
  });
  keepEntry(input, name);
  const side = element("span", { class: "row" }, input, ...(unit ? [element("span", { class: "quiet" }, unit)] : []));
  return { box: element("div", {}, element("div", { class: "line" }, titled(name), side)), set: (value) => { input.value = value; } };
}

// The width of tiles that are not square changes their height, too.
function sized(width, before) {
  if (typeof before !== "string") return width;
  const [oldWidth, oldHeight] = before.split("x").map(Number);
  return `${width}x${Math.max(4, Math.round((width * oldHeight) / oldWidth / 2) * 2)}`;
}

function entry(name) {
  const input = element("input", { type: "text", ...basics(name) });
  input.addEventListener("change", () => change(name, input.value));
  keepEntry(input, name);
  return { box: element("div", {}, titled(name), input), set: (value) => { input.value = value; } };
}

function toggle(name) {
  const input = element("input", { type: "checkbox", role: "switch", class: "switch", ...basics(name) });
  input.addEventListener("change", () => change(name, input.checked));
  return { box: element("div", {}, element("div", { class: "line" }, titled(name), input)), set: (value) => { input.checked = value; } };
}

function choices(name, schema) {
  const inputs = new Map();
  const list = element("div", { class: "choices" });
  const offer = (value) => {
    const input = element("input", { type: "radio", name, value: JSON.stringify(value) });
    input.addEventListener("change", () => change(name, value));
    inputs.set(input.value, input);
    list.append(element("label", {}, input, text(value)));
  };
  schema.enum.forEach(offer);
  const box = element("fieldset", { "aria-describedby": `help-${name}` }, element("legend", {}, words(name)), list);
  const set = (value) => {
    if (!inputs.has(JSON.stringify(value))) offer(value); // from the settings file
    for (const [key, input] of inputs) input.checked = key === JSON.stringify(value);
  };
  return { box, set };
}

function selection(name, schema) {
  const input = element("select", basics(name));
  const offer = (value) => input.append(element("option", { value: JSON.stringify(value) }, text(value)));
  schema.enum.forEach(offer);
  input.addEventListener("change", () => change(name, JSON.parse(input.value)));
  const set = (value) => {
    input.value = JSON.stringify(value);
    if (input.selectedIndex >= 0) return;
    offer(value); // from the settings file
    input.value = JSON.stringify(value);
  };
  return { box: element("div", {}, titled(name), input), set };
}

function colourChoice(name, schema) {
  const named = schema.anyOf.flatMap((it) => it.enum ?? []);
  const options = named.map((value) => element("option", { value }, text(value)));
  const select = element("select", basics(name), ...options, element("option", { value: "colour" }, "a colour"));
  const colour = element("input", { type: "color", value: "#20a060", "aria-label": `${words(name)}: colour` });
  select.addEventListener("change", () => change(name, select.value === "colour" ? colour.value : select.value));
  colour.addEventListener("input", () => change(name, colour.value));
  const set = (value) => {
    const isColour = value.startsWith("#");
    if (!isColour && !named.includes(value)) { // from the settings file
      named.push(value);
      select.append(element("option", { value }, text(value)));
    }
    select.value = isColour ? "colour" : value;
    colour.hidden = !isColour;
    if (isColour) colour.value = value;
  };
  return { box: element("div", {}, titled(name), element("div", { class: "row" }, select, colour)), set };
}

// ---- what a control shows ----------------------------------------------------------------

// A control keeps what its user has set until a moment after the answer, and what its user enters
// until it is sent or left. Any other control shows the newest state that the page knows. States come
// by the feed and with the answers to changes, in any order. Each has the number of changes that it
// includes, and the page leaves out one that is older than its own. So the state that it knows after
// an answer includes the change.
let values = {};
let changes = 0; // that `values` include
const kept = new Map(); // by option: what its user did last

// Returns a function that releases the control, unless its user has gone on.
function keep(name) {
  const mine = {};
  kept.set(name, mine);
  return () => { if (kept.get(name) === mine) release(name); };
}

function release(name) {
  kept.delete(name);
  controls.get(name).set(values[name]);
}

function keepEntry(input, name) {
  let leave = () => {};
  input.addEventListener("input", () => { leave = keep(name); });
  input.addEventListener("blur", () => leave());
}

function adopt(count, now, unused) {
  if (count < changes) return;
  const before = values;
  values = now;
  changes = count;
  for (const [name, { box, set, note }] of controls) {
    const isOwn = kept.has(name);
    if (!isOwn) set(now[name]);
    const isNew = name in before && JSON.stringify(before[name]) !== JSON.stringify(now[name]);
    if (isNew && !isOwn && note && !document.hidden) {
      box.classList.add("changed");
      requestAnimationFrame(() => requestAnimationFrame(() => box.classList.remove("changed")));
    }
    if (unused && note) {
      box.classList.toggle("unused", name in unused);
      note.hidden = !(name in unused);
      note.textContent = `Has no effect: ${unused[name]}.`;
    } else if (unused) box.hidden = name in unused;
  }
  showBadges();
}

// ---- changes: one request at a time, for one option, so that a refusal concerns no other -----

const unsent = new Map(); // by option: the newest change, in the order in which they were made
let isSending = false;
const SETTLED_MS = 700; // a slider does not jump to the nearest size while it moves

async function change(name, value) {
  controls.get(name).set(value);
  unsent.delete(name); // to the end: a profile sets other options
  unsent.set(name, { value, leave: keep(name) });
  if (isSending) return;
  isSending = true;
  for (const [next, it] of unsent) { // also of those that come meanwhile
    unsent.delete(next);
    await send(next, it.value, it.leave);
  }
  isSending = false;
}

async function send(name, value, leave) {
  const options = {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ [name]: value }),
  };
  try {
    const { body, headers } = await exchange("api/settings", options);
    adopt(Number(headers.get("Livemosaic-Changes")), body);
    setTimeout(leave, SETTLED_MS);
  } catch (error) {
    show(error.name === "Error" ? error.message : `${name}: ${reason(error)}`);
    leave();
  }
}

function showBadges() {
  const badges = [];
  if (state?.recording) badges.push(element("li", { class: "recording" }, short(state.recording)));
  if (values.privacy) badges.push(element("li", {}, "privacy mode"));
  if (values.freeze) badges.push(element("li", {}, "frozen"));
  byId("badges").replaceChildren(...badges);
}

// ---- statistics ---------------------------------------------------------------------------

const PLOTS = [
  { title: "Frame rate", lines: { out: "fps_out", in: "fps_in" }, unit: "/s", digits: 1 },
  { title: "Latency", lines: { p50: "latency_ms_p50", p95: "latency_ms_p95", p99: "latency_ms_p99" }, unit: " ms", digits: 0 },
  { title: "Dropped", lines: { "each second": "dropped" }, unit: "", digits: 0, isTotal: true, least: 5 },
  { title: "Active cells", lines: { share: "active_share" }, unit: " %", digits: 0, factor: 100, top: 100 },
  { title: "Governor", lines: { reduction: "governor_share" }, unit: " %", digits: 0, factor: 100, top: 100 },
];
const WIDTH = 300; // seconds, and units of the drawing
const HEIGHT = 60;
let columns = [];
let lines = [];
let state = null;

for (const plot of PLOTS) {
  const names = Object.keys(plot.lines);
  const classes = ["first", "second", "third"];
  plot.output = element("output");
  plot.curves = names.map((_, place) => svg("polyline", { class: classes[place] }));
  plot.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  plot.drawing.append(svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), ...plot.curves.toReversed());
  plot.high = element("span");
  const key = element("span", { class: "key" }, ...(names.length > 1 ? names.map((name, place) => element("span", { class: classes[place] }, name)) : [element("span", {}, names[0])]));
  byId("plots").append(element("section", { class: "plot card" },
    element("div", { class: "head" }, element("h2", {}, plot.title), plot.output),
    plot.drawing,
    element("div", { class: "foot" }, key, plot.high)));
}

function draw() {
  const end = lines.length ? lines.at(-1)[0] : 0;
  for (const plot of PLOTS) {
    const series = Object.values(plot.lines).map((name) => {
      const place = columns.indexOf(name);
      return lines.map((line, at) => {
        const value = plot.isTotal ? Math.max(0, line[place] - (lines[at - 1] ?? line)[place]) : line[place];
        return [WIDTH - (end - line[0]), value * (plot.factor ?? 1)];
      });
    });
    const highest = Math.max(plot.least ?? 1, ...series.flat().map(([, value]) => value));
    const top = plot.top ?? highest * 1.08;
    series.forEach((points, place) => {
      const text = points.map(([x, y]) => `${x.toFixed(1)},${(HEIGHT - (y / top) * HEIGHT).toFixed(1)}`).join(" ");
      plot.curves[place].setAttribute("points", text);
    });
    const now = series.map((points) => (points.at(-1)?.[1] ?? 0).toFixed(plot.digits));
    plot.output.textContent = plot.isTotal && state ? `${state.dropped} in all` : now.slice(0, plot.unit === " ms" ? 3 : 1).join(" · ") + plot.unit;
    plot.high.textContent = `up to ${highest.toFixed(plot.digits)}${plot.unit}`;
    plot.drawing.setAttribute("aria-label", `${plot.title}: ${plot.output.textContent}, highest ${highest.toFixed(plot.digits)}${plot.unit} in five minutes`);
  }
}

function place(name, kind, detail) {
  return element("li", { class: kind }, element("span", { class: "dot" }), element("span", { class: "name", title: name }, short(name)), element("span", { class: "quiet numbers" }, detail));
}

function report(now, line) {
  state = now;
  if (line) {
    lines.push(line);
    while (lines.length > WIDTH) lines.shift();
  }
  const governor = now.governor.step ? ` · ${now.governor.step}` : "";
  byId("summary").textContent = `${now.fps_out.toFixed(1)} frames/s · ${now.latency_ms.p95.toFixed(0)} ms${governor}`;
  const counts = (it) => `${it.state === "running" ? "" : `${it.state}, `}${it.frames.toLocaleString("en")} frames${it.dropped ? `, ${it.dropped.toLocaleString("en")} dropped` : ""}${it.codec ? `, ${it.codec}` : ""}`;
  byId("places").replaceChildren(
    place(now.input, now.input_status ? "away" : "running", now.input_status || "input"),
    ...now.outputs.map((it) => place(it.name, it.state, counts(it))));
  showBadges();
  draw();
}

// ---- the feed: pictures that this page asks for, and texts -----------------------------------

const canvas = byId("picture");
const MAX_WIDTH = 1280;
let feed = null;
let isAsked = false;
let described = ""; // the OpenAPI document, which this page is made of

function askForPicture() {
  const isWanted = byId("preview").getAttribute("aria-pressed") === "true" && !document.hidden;
  if (!isWanted || isAsked || feed?.readyState !== WebSocket.OPEN) return;
  isAsked = true;
  const width = Math.min(MAX_WIDTH, Math.round(canvas.clientWidth * devicePixelRatio) || MAX_WIDTH);
  feed.send(JSON.stringify({ picture: width }));
}

async function paint(data) {
  try {
    const picture = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
  } finally {
    isAsked = false;
    requestAnimationFrame(askForPicture);
  }
}

const TEXTS = {
  start(it) {
    columns = it.columns;
    lines = it.lines;
    kept.clear();
    changes = 0; // a later run counts anew
    adopt(it.changes, it.values, it.unused);
    report(it.now);
    invite(it.guests);
  },
  photos: () => refreshPhotos(),
  values: (it) => adopt(it.changes, it.values, it.unused),
  message: (it) => show(it.text),
  stats: (it) => report(it.now, it.line),
  pages(it) {
    byId("pages").hidden = it.count < 2;
    byId("pages").textContent = `${it.count} pages are open`;
  },
};

function setLost(isLost) {
  byId("lost").hidden = !isLost;
  if (isLost) byId("summary").textContent = "not connected";
  for (const it of document.querySelectorAll("#actions button, #settings input, #settings select")) it.disabled = isLost;
}

function connect() {
  const own = new WebSocket(`ws://${location.host}/feed?${query}`);
  feed = own;
  own.binaryType = "arraybuffer";
  let silence = 0;
  // A line that is dead may stay open for minutes; statistics come each second.
  const hear = () => { clearTimeout(silence); silence = setTimeout(end, ANSWER_MS); };
  const end = () => {
    clearTimeout(silence);
    if (feed !== own) return;
    feed = null;
    own.close();
    setLost(true);
    setTimeout(comeBack, RETRY_MS);
  };
  own.onopen = () => { hear(); setLost(false); isAsked = false; askForPicture(); };
  own.onmessage = ({ data }) => {
    if (feed !== own) return;
    hear();
    if (typeof data !== "string") { paint(data); return; }
    const item = JSON.parse(data);
    TEXTS[item.type]?.(item);
  };
  own.onclose = end;
  hear();
}

// A later run at this address has another token, unless it is given one, and may have other options.
async function comeBack() {
  try {
    const answer = await fetch("openapi.json", { headers: authorization, signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401) byId("lost").textContent = "Another run is here now. Open the address that it has printed.";
    else if (!answer.ok) throw new Error(answer.statusText);
    else if ((await answer.text()) === described) connect();
    else location.reload();
  } catch { setTimeout(comeBack, RETRY_MS); }
}

// ---- guests and their photos -------------------------------------------------------------------

const MOST_LISTED = 1000; // in an answer
const MOST_WAITING = 60; // in the grid; the next ones follow
const MOST_JOINED = 12;
const SETTLE_MS = 400;
const waits = new Map(); // by id: its item in the grid
const joined = new Map();
let isRefreshing = false;
let isStale = false;

const time = (photo) => new Date(photo.added_s * 1000).toLocaleTimeString();

function invite(address) {
  byId("guests").hidden = !address;
  refreshPhotos();
  if (!address) return;
  byId("address").value = address;
  byId("qr").src = `guests.svg?${query}`;
}

// Also of the decisions of others. One request at a time.
async function refreshPhotos() {
  isStale = true;
  if (isRefreshing) return;
  isRefreshing = true;
  while (isStale) {
    isStale = false;
    try {
      // The oldest first: those that come later move none.
      const waiting = await ask("api/photos?state=waiting&order=oldest");
      const decided = await ask(`api/photos?state=approved&state=rejected&limit=${MOST_JOINED}`);
      showing(() => { showWaiting(waiting); showJoined(decided); });
    } catch { /* the feed says so */ }
  }
  isRefreshing = false;
}

// Makes a list show these photos, and keeps the items that are there: a reader stays where it is.
function follow(list, items, photos, make) {
  const ids = new Set(photos.map((it) => it.id));
  for (const [id, item] of items) if (!ids.has(id)) { leave(item); items.delete(id); }
  photos.forEach((photo, at) => {
    if (!items.has(photo.id)) items.set(photo.id, Object.assign(make(photo), { cameMs: performance.now() }));
    const item = items.get(photo.id);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
}

// A click on an item that has just come to its place, or a key on one that has just got the keyboard,
// was meant for another one, which another host, or the first click of two, has decided.
const isSettled = (item) => performance.now() - item.sinceMs > SETTLE_MS;

function unsettle(item) {
  item.sinceMs = performance.now();
  for (const button of item.querySelectorAll("button")) button.animate({ opacity: [0.4, 1] }, SETTLE_MS);
}

// Changes both lists.
function showing(change) {
  const place = (item) => { const { left, top } = item.getBoundingClientRect(); return `${left} ${top}`; };
  const items = () => [...waits.values(), ...joined.values()];
  const before = new Map(items().map((it) => [it, place(it)]));
  change();
  for (const it of items()) if (before.get(it) !== place(it)) unsettle(it);
}

// Removes an item; the keyboard goes on with the next one.
function leave(item) {
  const name = item.contains(document.activeElement) ? document.activeElement.className : null;
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  if (name === null) return;
  (next?.getElementsByClassName(name)[0] ?? byId("copy")).focus();
  if (next) unsettle(next);
}

function decision(photo, verb, text, name) {
  const button = element("button", { type: "button", class: verb, "aria-label": `${text} the photo of ${name}` }, text);
  button.addEventListener("click", () => { if (isSettled(button.closest("li"))) decide([photo.id], verb); });
  button.addEventListener("keydown", (event) => { if (event.repeat) event.preventDefault(); }); // is held
  return button;
}

function picture(photo) {
  return element("img", { src: `api/photos/${encodeURIComponent(photo.id)}/picture?${query}`, alt: `Photo of ${time(photo)}`, loading: "lazy" });
}

function showWaiting(all) {
  const photos = all.slice(0, MOST_WAITING);
  follow(byId("waiting"), waits, photos, (photo) => element("li", {}, picture(photo),
    element("div", { class: "row" }, decision(photo, "approve", "Approve", time(photo)), decision(photo, "reject", "Reject", time(photo)))));
  byId("waiting-count").textContent = all.length ? `${all.length}${all.length < MOST_LISTED ? "" : " or more"} waiting` : "";
  byId("approve-all").hidden = photos.length < 2;
  byId("approve-all").textContent = `Approve these ${photos.length}`;
  document.title = all.length ? `(${all.length}) livemosaic` : "livemosaic";
}

function showJoined(photos) {
  byId("latest").hidden = !photos.length;
  const known = photos.map((it) => ({ ...it, id: `${it.id} ${it.state}`, own: it.id }));
  follow(byId("joined"), joined, known, (photo) => {
    const own = { ...photo, id: photo.own };
    const isThere = photo.state === "approved";
    const item = element("li", {}, isThere ? picture(own) : element("div", { class: "gone" }),
      element("p", { class: "quiet" }, `${photo.snap ? "snap" : photo.state}, ${time(photo)}`));
    if (isThere && (photo.guest || photo.snap)) item.append(decision(own, "reject", "Remove", time(photo)));
    return item;
  });
}

// Only of photos that this page shows: one that has just come has not been seen.
async function decide(ids, verb) {
  for (const id of ids) {
    try {
      await ask(`api/photos/${encodeURIComponent(id)}/${verb}`, { method: "POST" });
    } catch (error) { show(reason(error)); }
  }
  refreshPhotos();
}

byId("approve-all").addEventListener("click", () => {
  const seen = [...waits].filter(([, item]) => performance.now() - item.cameMs > SETTLE_MS);
  decide(seen.map(([id]) => id), "approve");
});
byId("copy").addEventListener("click", () => {
  byId("address").select();
  // The newer way is only there in encrypted connections.
  show(document.execCommand("copy") ? "copied" : "select the address, and copy it");
});

// ---- buttons --------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => act(button.dataset.action));
}

async function act(name) {
  try { await ask(`api/actions/${name}`, { method: "POST" }); } catch (error) { show(reason(error)); }
}

byId("settings").addEventListener("submit", (event) => event.preventDefault());
byId("quit").addEventListener("click", () => byId("confirm").showModal());
byId("stay").addEventListener("click", () => byId("confirm").close());
byId("end").addEventListener("click", () => { byId("confirm").close(); act("quit"); });

function flip(button) {
  const isOn = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(isOn));
  return isOn;
}
byId("explain").addEventListener("click", (event) => document.body.classList.toggle("explained", flip(event.currentTarget)));
byId("preview").addEventListener("click", (event) => { flip(event.currentTarget); askForPicture(); });
document.addEventListener("visibilitychange", askForPicture);

ask("openapi.json", { read: "text" }).then((api) => {
  described = api;
  build(JSON.parse(api).components.schemas.Settings.properties);
  connect();
}).catch((error) => { byId("summary").textContent = reason(error); });
