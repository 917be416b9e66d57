"use strict";

const MOST_BYTES = 16 * 2 ** 20;
const at = id => document.getElementById(id);
let about = null;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}%`;

/* Rows of [name, fraction of the bar 0..1, text, whether it is highlighted]. */
function bars(rows) {
  const box = make("div", "bars");
  for (const [name, share, text, strong] of rows) {
    const track = make("div");
    const bar = make("i", strong ? "yes" : "");
    bar.style.width = percent(Math.min(Math.max(share, 0), 1), 1);
    track.append(bar);
    box.append(make("span", "", name), track, make("em", "", text));
  }
  return box;
}

function face(seen, title) {
  const box = make("div", "face");
  const picture = make("img");
  picture.alt = `${title}: what the model sees`;
  picture.src = `data:image/png;base64,${seen.crop}`;
  let how = "used as an aligned crop";
  if (seen.aligned) how = seen.faces > 1 ? `aligned, the largest of ${seen.faces} faces` : "aligned";
  box.append(picture, make("p", "note", `${title}: ${how}`));
  if (seen.gates) {
    const rows = Object.entries(seen.gates);
    const most = Math.max(...rows.map(row => row[1]));
    box.append(bars(rows.map(([name, gate]) => [name, gate, percent(gate), gate === most])));
  }
  return box;
}

/* Cosine -1..1 on a line, and the threshold, a squared distance, as the equivalent cosine. */
function scale(similarity, threshold) {
  const place = cosine => percent(Math.min(Math.max((cosine + 1) / 2, 0), 1), 2);
  const near = cosine => percent(Math.min(Math.max((cosine + 1) / 2, 0.17), 0.83), 2);
  const limit = 1 - threshold / 2;
  const box = make("div", "scale");
  const bar = make("i"), mark = make("u");
  const above = make("small", "", `passes from ${limit.toFixed(3)}`);
  const below = make("small", "below", `similarity ${similarity.toFixed(3)}`);
  bar.style.width = place(similarity);
  mark.style.left = place(limit);
  above.style.left = near(limit);
  below.style.left = near(similarity);
  box.append(bar, mark, above, below);
  return box;
}

function decided(answer) {
  const faces = make("div", "faces");
  faces.append(face(answer.images[0], "First"), face(answer.images[1], "Second"));
  const parts = [make("p", `answer ${answer.sure ? "yes" : "no"}`, answer.says), make("p", "lead", sentence(answer.risk))];
  if (answer.likelihood) parts.push(make("p", "note", sentence(answer.likelihood.says)));
  parts.push(scale(answer.similarity, answer.threshold.value));
  if (answer.note) parts.push(make("p", "note", sentence(answer.note)));
  return [...parts, faces];
}

function found(answer) {
  const rows = answer.hits.map(hit => [hit.name, (hit.similarity + 1) / 2,
    `${hit.similarity.toFixed(3)}${hit.same ? ", passes" : ""}`, hit.same]);
  const parts = [make("p", `answer ${answer.sure ? "yes" : "no"}`, answer.says), bars(rows)];
  let chance = sentence(answer.risk);
  if (answer.false_hit_chance !== null) {
    chance += ` Among ${answer.people} people, a stranger matches somebody with a chance of ${percent(answer.false_hit_chance, 1)}.`;
  }
  if (answer.note) chance += ` ${sentence(answer.note)}`;
  return [...parts, make("p", "note", chance), face(answer.image, "The photograph")];
}

const sentence = text => `${text[0].toUpperCase()}${text.slice(1)}.`;

async function ask(path, names, place, show) {
  const form = new FormData();
  for (const name of names) form.append(name, at(name).chosen);
  form.append("crops", "true");
  if (at("far").value) form.append("far", at("far").value);
  const mine = place.asked = (place.asked || 0) + 1;
  place.replaceChildren(make("p", "note", "Searching ..."));
  let parts;
  try {
    const response = await fetch(path, {method: "POST", body: form});
    const answer = await response.json();
    parts = response.ok ? show(answer) : [make("p", "problem", sentence(answer.error))];
  } catch {
    parts = [make("p", "problem", "The server does not answer. Is it still running?")];
  }
  if (place.asked === mine) place.replaceChildren(...parts);
}

function asked(name) {
  if (name === "image") {
    if (at("image").chosen) ask("/search", ["image"], at("found"), found);
  } else if (at("first").chosen && at("second").chosen) {
    ask("/verify", ["first", "second"], at("decision"), decided);
  }
}

function choose(input, file) {
  const zone = input.closest(".zone"), picture = zone.querySelector("img"), words = zone.querySelector("span");
  if (file.size > MOST_BYTES) {
    words.textContent = `${file.name} is larger than 16 MiB; choose a smaller one`;
    return;
  }
  if (picture.src) URL.revokeObjectURL(picture.src);
  input.chosen = file;
  words.textContent = file.name;
  picture.hidden = false;
  picture.onerror = () => { picture.hidden = true; };
  picture.src = URL.createObjectURL(file);
  asked(input.id);
}

for (const zone of document.querySelectorAll(".zone")) {
  const input = zone.querySelector("input");
  input.addEventListener("change", () => { if (input.files.length) choose(input, input.files[0]); });
  zone.addEventListener("dragover", event => { event.preventDefault(); zone.classList.add("over-it"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over-it"));
  zone.addEventListener("drop", event => {
    event.preventDefault();
    zone.classList.remove("over-it");
    if (event.dataTransfer.files.length) choose(input, event.dataTransfer.files[0]);
  });
}
/* A photograph dropped outside a zone must not replace the page. */
for (const name of ["dragover", "drop"]) addEventListener(name, event => event.preventDefault());

at("far").addEventListener("change", () => { asked("first"); asked("image"); });

async function start() {
  about = await (await fetch("/about")).json();
  const {run, step, backbone} = about.model;
  at("run").textContent = `${run}, step ${step}, ${backbone}`;
  at("taken").textContent = about.aligns
    ? "The largest face of each photograph is found and aligned."
    : "Photographs are treated as aligned crops of faces: no face detector is installed here (pip install 'adaptface_jax[align]').";
  for (const {far, benchmark} of about.thresholds) {
    const option = make("option", "", `1 in ${Math.round(1 / Number(far)).toLocaleString("en")}, measured on ${benchmark ?? "photographs of this site"}`);
    option.value = far;
    option.selected = far === about.threshold.far;
    at("far").append(option);
  }
  at("choice").hidden = about.thresholds.length === 0;
  if (about.people !== null) {
    at("people").textContent = `The most similar of ${about.people.toLocaleString("en")} people in the index.`;
    at("searching").hidden = false;
  }
}

start().catch(() => { at("taken").textContent = "The server does not answer. Is it still running?"; });
