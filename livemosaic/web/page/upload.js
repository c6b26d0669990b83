
// ---- what is sent: no more than the wall needs, upright, without the file's metadata --------

const LONGEST = 2048; // pixels of a side: livemosaic keeps no more
const THUMB = 144;

function drawn(image, longest) {
  const share = Math.min(1, longest / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = element("canvas", {
    width: Math.max(1, Math.round(image.naturalWidth * share)),
    height: Math.max(1, Math.round(image.naturalHeight * share)),
  });
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#808080"; // behind what is transparent, as livemosaic has it
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// The picture as it is sent, and a small one for the list. A browser turns what it draws upright;
// a picture that it cannot read, such as HEIC, is sent as it is: livemosaic reads more kinds.
async function prepared(file) {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const thumb = drawn(image, THUMB).toDataURL("image/jpeg", 0.7);
    const body = await new Promise((done) => drawn(image, LONGEST).toBlob(done, "image/jpeg", 0.9));
    return { thumb, body: body ?? file };
  } catch {
    return { thumb: "", body: file };
  } finally {
    URL.revokeObjectURL(url);
  }
}

// ---- one's own photos, newest first ----------------------------------------------------------

// Each has a `state`: queued, sending, refused, or one of livemosaic's. Those that have arrived
// have an `id`, and are remembered on this phone.
const photos = [];
const known = new Set(); // ids of photos that are or were in the list
let count = 0;
const KEPT = "livemosaic photos";
const GUEST = "livemosaic guest";
const MOST_KEPT = 100;
const REFRESH_MS = 2000;
const CALM_MS = 60000;
const SELDOM_MS = 12000; // livemosaic closes a connection that is idle for 10 s
const MOST_ASKED = 4;
const FINAL = ["refused", "rejected", "gone"];

// Each scan of the QR code opens another page of the phone: it keeps what the others have.
function remember() {
  const kept = [...photos.filter((it) => it.id), ...remembered().filter((it) => !known.has(it.id))].slice(0, MOST_KEPT);
  try {
    localStorage.setItem(KEPT, JSON.stringify(kept.map(({ id, state, thumb, wasShown }) => ({ id, state, thumb, wasShown }))));
  } catch { /* private windows may keep nothing */ }
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

const STATES = {
  queued: (it) => (it.left ? `There is a rush: it is sent in ${it.left} s` : "To be sent"),
  sending: (it) => (it.share < 1 ? `Sending: ${Math.round(it.share * 100)} %` : "Being checked"),
  refused: (it) => it.problem.charAt(0).toUpperCase() + it.problem.slice(1),
  waiting: () => "Waits for the host",
  approved: (it) => {
    if (it.places?.length) return "On the wall now";
    return it.wasShown ? "Was on the wall, and comes back when it fits" : "Approved: it comes onto the wall";
  },
  rejected: () => "Not chosen for the wall",
  gone: () => "Not on the wall any more",
};

// Where a place is, in words: "top left", "middle".
function corner({ x, y, width, height }) {
  const third = (at, names) => names[Math.min(2, Math.max(0, Math.floor(at * 3)))];
  const words = [third(y + height / 2, ["top", "", "bottom"]), third(x + width / 2, ["left", "", "right"])];
  return words.filter(Boolean).join(" ") || "in the middle";
}

function where(places) {
  if (places.length === 1) return corner(places[0]);
  return `in ${places.length} places, one ${corner(places[0]).replace(/^(?!in)/, "at the ")}`;
}

const WALL = [64, 36];
const LEAST = 5; // a tile of its true size could not be seen

function sketch(places) {
  const [width, height] = WALL;
  const wall = svg("svg", { viewBox: `-1 -1 ${width + 2} ${height + 2}`, class: "wall", role: "img", "aria-label": `The wall, and your photo: ${where(places)}` });
  wall.append(svg("rect", { width, height, rx: 2 }));
  for (const it of places) {
    const size = [Math.max(LEAST, it.width * width), Math.max(LEAST, it.height * height)];
    const x = Math.min(width - size[0], Math.max(0, (it.x + it.width / 2) * width - size[0] / 2));
    const y = Math.min(height - size[1], Math.max(0, (it.y + it.height / 2) * height - size[1] / 2));
    wall.append(svg("rect", { x, y, width: size[0], height: size[1], class: "here" }));
  }
  return wall;
}

function draw(photo) {
  const text = (STATES[photo.state] ?? (() => photo.state))(photo);
  const isShown = photo.state === "approved" && photo.places?.length > 0;
  const view = JSON.stringify([text, isShown && photo.places]);
  if (view === photo.view) return;
  const bar = photo.state === "sending" && photo.box?.querySelector("progress");
  photo.view = view;
  if (bar) { // it comes many times a second
    bar.value = photo.share;
    photo.box.querySelector(".state").textContent = text;
    return;
  }
  photo.box ??= element("li");
  photo.box.className = photo.state === "refused" ? "refused" : isShown ? "shown" : "";
  const of = element("div", { class: "of" }, element("p", { class: "state" }, text));
  if (isShown) of.append(element("p", { class: "where" }, where(photo.places)));
  if (photo.state === "sending") of.append(element("progress", { max: 1, value: photo.share, "aria-label": "Sent" }));
  const parts = [photo.thumb ? element("img", { class: "thumb", src: photo.thumb, alt: "" }) : element("div", { class: "thumb" }), of];
  if (isShown) parts.push(sketch(photo.places));
  if (FINAL.includes(photo.state)) {
    const away = element("button", { class: "away", type: "button", "aria-label": "Remove from this list" }, "×");
    away.addEventListener("click", () => drop(photo));
    parts.push(away);
  }
  photo.box.replaceChildren(...parts);
  if (!["queued", "sending"].includes(photo.state) && text !== photo.said) {
    if (photo.said !== undefined) byId("said").textContent = `Photo ${photo.number}: ${text}`;
    photo.said = text;
    changed = performance.now();
  }
}

function add(photo) {
  photos.unshift(photo);
  known.add(photo.id);
  photo.number = count += 1;
  draw(photo);
  byId("photos").prepend(photo.box);
  byId("own").hidden = false;
}

function drop(photo) {
  photos.splice(photos.indexOf(photo), 1);
  photo.box.remove();
  byId("own").hidden = !photos.length;
  remember();
  byId("files").focus();
}

function update(photo, changes) {
  Object.assign(photo, changes);
  draw(photo);
  if (!photo.id) return;
  known.add(photo.id);
  remember();
}

// ---- sending: one after the other, again when the connection is back ---------------------------

let isSending = false;
const guest = guestId();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const MOST_ATTEMPTS = 3; // while the connection is there
const LONGEST_MS = 300000;

function sent(photo, body) {
  return new Promise((done) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
    const form = new FormData();
    form.append("photo", body, "photo");
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) update(photo, { share: event.loaded / event.total });
    };
    request.onloadend = () => done(request);
    request.timeout = LONGEST_MS;
    request.open("POST", "api/photos");
    const headers = { ...authorization, "livemosaic-guest": guest };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(form);
  });
}

// An id of this phone: livemosaic counts the photos of each by it, for its limits.
function guestId() {
  try {
    const kept = localStorage.getItem(GUEST);
    if (kept) return kept;
  } catch { /* as above */ }
  const made = Array.from(crypto.getRandomValues(new Uint8Array(16)), (it) => it.toString(16).padStart(2, "0")).join("");
  try { localStorage.setItem(GUEST, made); } catch { /* until this page is closed */ }
  return made;
}

function outcome(request) {
  let body = {};
  try { body = JSON.parse(request.responseText); } catch { /* an error of something in between */ }
  const own = Array.isArray(body) ? body[0] : body;
  if (request.status < 300 && own?.id) {
    if (photos.some((it) => it.id === own.id)) return { state: "refused", problem: "This photo is in the list already" };
    return { id: own.id, state: own.state };
  }
  return { state: "refused", problem: own?.error ?? `it was refused (${request.status})` };
}

async function sendAll() {
  if (isSending) return;
  isSending = true;
  let photo;
  while ((photo = photos.filter((it) => it.state === "queued").pop()) && !isOver) {
    update(photo, { state: "sending", share: 0 });
    photo.body ??= await readied(photo);
    const request = await sent(photo, photo.body);
    if (request.status && request.status !== 408) { // 408: the connection rested too long
      setLost("");
      if (request.status === 401) { update(photo, { state: "queued" }); setOver(); }
      else if ([429, 503].includes(request.status)) await waitFor(photo, Number(request.getResponseHeader("Retry-After")) || 10);
      else update(photo, { ...outcome(request), file: null, body: null });
      continue;
    }
    const isThere = await reach("upload", undefined, { method: "HEAD" });
    photo.attempts = (photo.attempts ?? 0) + (isThere ? 1 : 0);
    if (photo.attempts >= MOST_ATTEMPTS) {
      update(photo, { state: "refused", problem: "could not be sent; choose it again, or another one", file: null, body: null });
    } else {
      update(photo, { state: "queued" });
      await pause(RETRY_MS);
    }
  }
  isSending = false;
}

// Too many photos or guests at once: livemosaic says for how long.
async function waitFor(photo, seconds) {
  for (let left = seconds; left > 0; left -= 1) {
    update(photo, { state: "queued", left });
    await pause(1000);
  }
  update(photo, { left: 0 });
}

async function readied(photo) {
  const { thumb, body } = await prepared(photo.file);
  photo.box.replaceChildren();
  update(photo, { thumb, view: "" });
  return body;
}

for (const input of [byId("camera"), byId("files")]) {
  input.addEventListener("change", () => {
    for (const file of input.files) add({ state: "queued", file, thumb: "", said: "" });
    input.value = ""; // the same photo may be chosen again
    sendAll();
  });
}
addEventListener("beforeunload", (event) => {
  if (isSending) event.preventDefault();
});

// ---- what became of them -----------------------------------------------------------------------

let isOver = false;
let turn = 0;
let wake = () => {};
let changed = 0; // when a photo got another state

function setLost(text) {
  if (isOver) return; // an earlier request may be answered later
  byId("lost").hidden = !text;
  if (text && byId("lost").textContent !== text) byId("lost").textContent = text;
}

function setOver() {
  setLost("This address is not valid any more. Scan the QR code on the wall again.");
  isOver = true;
  for (const input of [byId("camera"), byId("files")]) input.disabled = true;
}

// Whether the wall answers a request; `use` gets its answer.
async function reach(path, use = () => {}, options = {}) {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await fetch(path, { ...options, signal, headers: authorization });
    if (answer.status === 401) setOver();
    else {
      setLost("");
      await use(answer);
    }
    return answer.status !== 503; // too many connections
  } catch {
    setLost("There is no connection to the wall. This page goes on when it is back.");
    return false;
  }
}

// Asks about photos in turns: often while something happens, later seldom, so that the connection
// rests and others have room.
async function watch() {
  while (!isOver) {
    const isLost = !byId("lost").hidden;
    const isCalm = !isLost && performance.now() - changed > CALM_MS;
    await new Promise((done) => { wake = done; setTimeout(done, isCalm ? SELDOM_MS : REFRESH_MS); });
    if (document.hidden) continue;
    const asked = photos.filter((it) => it.id && !FINAL.includes(it.state));
    if (isLost && !asked.length) await reach("upload", undefined, { method: "HEAD" });
    for (let count = Math.min(asked.length, MOST_ASKED); count > 0 && !isOver; count -= 1) {
      await follow(asked[turn++ % asked.length]);
    }
  }
}

function follow(photo) {
  return reach(`api/photos/${encodeURIComponent(photo.id)}`, async (answer) => {
    if (answer.status === 404) update(photo, { state: "gone" });
    if (!answer.ok) return;
    const { state, places } = await answer.json();
    if (state === photo.state && JSON.stringify(places) === JSON.stringify(photo.places)) return;
    update(photo, { state, places, wasShown: photo.wasShown || places?.length > 0 });
  });
}
addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => wake());

for (const it of remembered().reverse()) add(it);
watch();
