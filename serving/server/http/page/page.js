// The page: the picture on stage, the pictures around it, and what the controls do.

import * as api from "./api.js";
import { copy, download } from "./takeaway.js";
import { element, on, slider } from "./dom.js";
import { report, say, state } from "./messages.js";
import { ofMix, ofSeed, ofWay, rendered } from "./pictures.js";
import { Player } from "./player.js";
import { Shelf, sourceOf } from "./shelf.js";
import { command, shortened } from "./request.js";
import { Tabs } from "./tabs.js";
import { withText } from "./png.js";

const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const ROLLED_SEEDS = 1_000_000;
const NEIGHBOURS = 12;
const FRAMES = 11; // From A to B, both included.
const OF_SHOWN = ["download", "use-a", "use-b", "copy"]; // Buttons that need a picture on stage.
const MOST_KEPT = 400; // Pictures in the cache; it is emptied when it is full.

let model = null; // The result of api.describe, with name and path.
let scene = null; // Model and settings: see pictures.js.
let shown = null; // The picture on stage.
let shownIn = null; // The scene of that picture; the settings may have changed since.
let shownBytes = null;
// Counters of requests. An answer to any but the last one is ignored.
let round = 0; // Of the stage.
let connection = 0; // Of the list of models.
let choice = 0; // Of the model.
let pair = { a: ofSeed(0), b: ofSeed(1) };
let around = { base: ofSeed(0), offset: 0 };

const shelves = {
  neighbours: new Shelf(element("neighbour-list"), pick, report),
  mix: new Shelf(element("mix-list"), pick, report),
  interpolate: new Shelf(element("way-list"), pick, report),
};
const slots = { a: element("slot-a"), b: element("slot-b") };
const player = new Player(element("play"), way, (picture) => show(picture, { quiet: true }));

// --- The stage ----------------------------------------------------------------------------------

async function show(picture, { quiet = false } = {}) {
  const mine = ++round;
  const used = scene;
  const current = () => mine === round;
  element("frame").setAttribute("aria-busy", "true");
  try {
    const answer = await rendered(used, picture, current);
    if (!current() || answer === null) return;
    shown = picture;
    shownIn = used;
    shownBytes = api.bytesOf(answer);
    await place(element("picture"), answer);
    if (!current()) return;
    const told = `${picture.name} · psi ${used.psi.toFixed(2)}`;
    element("picture").alt = `Picture of ${told}`;
    element("caption").textContent = told;
    for (const id of OF_SHOWN) element(id).disabled = false;
    Object.values(shelves).forEach((shelf) => shelf.mark(picture));
    moveSliders(picture);
    await writeRequest();
    element("alert").hidden = true;
    state("ready", "good");
    if (quiet) return;
    remember();
    say(`${picture.name} is shown`);
  } catch (error) {
    if (current()) report(error);
  } finally {
    if (current()) element("frame").removeAttribute("aria-busy");
  }
}

/** Takes the picture off the stage, and disables the buttons that need it. */
function clear() {
  shown = null;
  for (const id of OF_SHOWN) element(id).disabled = true;
}

/** Shows a picture from a list, and scrolls to it. */
function pick(picture) {
  player.stop();
  element("stage").scrollIntoView({ block: "nearest" });
  show(picture);
}

/** Moves the sliders to the values of the picture on stage. */
function moveSliders({ facts }) {
  if (facts.cutoff !== undefined && tabs.open === "mix") {
    element("cutoff").value = facts.cutoff;
    tellCutoff();
  }
  if (facts.interpolation !== undefined && tabs.open === "interpolate") {
    element("share").value = Math.round(100 * facts.interpolation);
    tellShare();
  }
}

async function place(image, answer) {
  const old = image.src;
  image.src = sourceOf(api.bytesOf(answer));
  image.hidden = false;
  await image.decode().catch(() => {});
  image.classList.toggle("small", image.naturalWidth < 200);
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

async function writeRequest() {
  const request = await shown.request(shownIn);
  const pre = element("request");
  pre.command = command(new URL(`${shownIn.path}:predict`, document.baseURI), request, api.token.get());
  pre.textContent = shortened(pre.command);
  element("request-hint").textContent =
    pre.textContent === pre.command
      ? "The request of the shown picture."
      : "The request of the shown picture, shortened here; Copy copies all of it.";
}

function remember() {
  const place = new URLSearchParams({ psi: shownIn.psi });
  if (shown.seed !== undefined) place.set("seed", shown.seed);
  history.replaceState(null, "", `#${place}`);
}

// --- Around the stage ----------------------------------------------------------------------------

const kind = () => document.querySelector("input[name=kind]:checked").value;

function neighbours() {
  const { base, offset } = around;
  const first = (base.seed ?? 0) + 1 + offset;
  const seeds = Array.from({ length: NEIGHBOURS }, (_, i) => ofSeed((first + i) % LARGEST_SEED));
  if (kind() === "seeds") return seeds;
  const share = Number(element("step").value) / 100;
  return seeds.map((seed) => ofWay(base, seed, share));
}

function fill() {
  if (!scene) return;
  if (scene.cache.size > MOST_KEPT) scene.cache.clear();
  const open = tabs.open;
  element("pair-names").textContent = `A: ${pair.a.name} · B: ${pair.b.name}`;
  for (const [name, shelf] of Object.entries(shelves)) if (name !== open) shelf.drop();
  if (open === "neighbours") {
    const { base, offset } = around;
    element("neighbours-title").textContent =
      kind() === "seeds"
        ? `Seeds after ${(base.seed ?? 0) + offset}`
        : `Around ${base.name}, each a step towards another seed`;
    shelves.neighbours.fill(scene, neighbours(), shown);
    return;
  }
  for (const name of ["a", "b"]) {
    element(`name-${name}`).textContent = pair[name].name;
    slots[name].setAttribute("aria-label", `Show ${name.toUpperCase()}: ${pair[name].name}`);
    const mine = pair[name];
    const wanted = () => pair[name] === mine;
    rendered(scene, mine, wanted).then(
      (answer) => answer && wanted() && place(slots[name].firstElementChild, answer),
      report,
    );
  }
  if (open === "mix") {
    const cutoffs = Array.from({ length: model.layers + 1 }, (_, i) => i);
    shelves.mix.fill(scene, cutoffs.map(mixed), shown, (_, i) => `Cutoff ${i}`);
  } else {
    shelves.interpolate.fill(scene, way(), shown, (_, i) => `${Math.round((100 * i) / (FRAMES - 1))}%`);
  }
}

const mixed = (cutoff) => ofMix(pair.a, pair.b, cutoff);

function way() {
  return Array.from({ length: FRAMES }, (_, i) => ofWay(pair.a, pair.b, i / (FRAMES - 1)));
}

function tellCutoff() {
  const cutoff = Number(element("cutoff").value);
  const last = model ? model.layers : 0;
  element("cutoff-value").textContent =
    cutoff === 0 ? "all layers from B"
    : cutoff === last ? "all layers from A"
    : `${cutoff} of ${last} layers from A`;
}

// --- Model and settings -------------------------------------------------------------------------

async function connect() {
  const mine = ++connection;
  state("connecting");
  element("alert").hidden = true;
  try {
    const found = await api.models();
    if (mine !== connection) return;
    element("token-form").hidden = true;
    if (!found.length) throw new api.Failure(0, "The server has no model to show.");
    const select = element("model");
    const chosen = select.value;
    select.replaceChildren(...found.map(({ name }) => new Option(name, name)));
    if (found.some(({ name }) => name === chosen)) select.value = chosen;
    select.models = found;
    select.disabled = false;
    await choose();
  } catch (error) {
    if (mine === connection) report(error);
  }
}

async function choose({ keepVersion = true } = {}) {
  const mine = ++choice;
  const name = element("model").value;
  const { versions } = element("model").models.find((one) => one.name === name);
  const select = element("version");
  const before = keepVersion ? select.value : "";
  const numbers = [...versions].reverse();
  select.replaceChildren(new Option("latest", ""), ...numbers.map((n) => new Option(n, n)));
  if (numbers.map(String).includes(before)) select.value = before;
  select.disabled = false;
  const path = api.modelPath(name, select.value);
  let described;
  try {
    described = await api.describe(path);
  } catch (error) {
    if (mine === choice) throw error;
    return;
  }
  if (mine !== choice) return;
  if (model && model.name !== name) clear(); // The picture may not fit another model.
  model = { name, path, ...described };
  element("frame").style.setProperty("--ratio", model.ratio);
  document.documentElement.style.setProperty("--ratio", model.ratio);
  element("cutoff").max = model.layers;
  element("cutoff").value = Math.ceil(model.layers / 2);
  tellCutoff();
  element("class-field").hidden = !model.labelDim;
  if (element("class").options.length !== model.labelDim) {
    const classes = Array.from({ length: model.labelDim }, (_, i) => new Option(i, i));
    element("class").replaceChildren(...classes);
  }
  await settle();
}

/** Shows everything again with the present settings. */
async function settle() {
  if (!model) return;
  const chosen = Number(element("class").value);
  const labels = model.labelDim
    ? Array.from({ length: model.labelDim }, (_, i) => Number(i === chosen))
    : null;
  player.stop();
  scene = { ...model, psi: Number(element("psi").value), labels, cache: new Map() };
  const first = show(shown ?? ofSeed(seedTyped() ?? 0));
  fill();
  await first;
}

function seedTyped() {
  const text = element("seed").value.trim();
  const fits = /^\d{1,16}$/.test(text) && Number(text) <= LARGEST_SEED;
  element("seed-error").textContent = fits
    ? ""
    : `A seed is a whole number from 0 to ${LARGEST_SEED}.`;
  element("seed").setAttribute("aria-invalid", String(!fits));
  return fits ? Number(text) : null;
}

function showTyped() {
  const seed = seedTyped();
  if (seed === null) {
    element("seed").focus();
    return;
  }
  if (!scene) return;
  player.stop();
  around = { base: ofSeed(seed), offset: 0 };
  show(around.base);
  fill();
}

// --- What the controls do -----------------------------------------------------------------------

on("controls", "submit", (event) => {
  event.preventDefault();
  showTyped();
});
on("roll", "click", () => {
  element("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % ROLLED_SEEDS;
  showTyped();
});
const tellPsi = () => (element("psi-value").textContent = Number(element("psi").value).toFixed(2));
slider("psi", tellPsi, settle);
on("class", "change", settle);
on("model", "change", () => choose({ keepVersion: false }).catch(report));
on("version", "change", () => choose().catch(report));
on("retry", "click", () => (model ? settle() : connect()));
on("token-form", "submit", (event) => {
  event.preventDefault();
  api.token.set(element("token").value.trim());
  connect();
});

document.querySelectorAll("input[name=kind]").forEach((radio) =>
  radio.addEventListener("change", () => {
    element("step-field").hidden = kind() !== "steps";
    fill();
  }),
);
slider("step", () => (element("step-value").textContent = `${element("step").value}%`), fill);
on("around", "click", () => {
  around = { base: shown ?? around.base, offset: 0 };
  fill();
});
on("more", "click", () => {
  around.offset += NEIGHBOURS;
  fill();
});

for (const name of ["a", "b"]) {
  on(`use-${name}`, "click", () => {
    pair = { ...pair, [name]: shown };
    say(`${shown.name} is ${name.toUpperCase()}`);
    player.stop();
    fill();
  });
  slots[name].addEventListener("click", () => pick(pair[name]));
}
on("swap", "click", () => {
  pair = { a: pair.b, b: pair.a };
  player.stop();
  fill();
});
slider("cutoff", tellCutoff, () => show(mixed(Number(element("cutoff").value))));
const tellShare = () => (element("share-value").textContent = `${element("share").value}%`);
slider("share", tellShare, () => {
  player.stop();
  show(ofWay(pair.a, pair.b, Number(element("share").value) / 100));
});

on("download", "click", () => {
  const { name, version, psi, labels } = shownIn;
  const facts = { ...shown.facts, psi, model: name, version };
  if (labels) facts.labels = labels.join(",");
  const stem = shown.seed !== undefined ? `seed${shown.seed}` : shown.name;
  const png = withText(shownBytes, { ...facts, Software: "tf_sg2 page" });
  download(png, `${name}-${stem}-psi${psi}`);
  say("The picture is downloaded");
});
on("copy", "click", async () => {
  await copy(element("request").command);
  element("copy").textContent = "Copied";
  say("The request is copied");
  setTimeout(() => (element("copy").textContent = "Copy"), 1500);
});

const tabs = new Tabs([...document.querySelectorAll("[role=tab]")], (open) => {
  player.stop();
  element("pair").hidden = open === "neighbours";
  fill();
});

const link = new URLSearchParams(location.hash.slice(1));
if (/^\d{1,16}$/.test(link.get("seed") ?? "")) element("seed").value = link.get("seed");
if (link.has("psi") && isFinite(Number(link.get("psi")))) element("psi").value = link.get("psi");
tellPsi();
around.base = ofSeed(seedTyped() ?? 0);
pair = { a: around.base, b: ofSeed((around.base.seed + 1) % LARGEST_SEED) };
connect();
