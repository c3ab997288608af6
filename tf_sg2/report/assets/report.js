"use strict";

// The page is complete without this script. It adds the sliders, the values under the pointer, and
// the mark of the section in view.

const SVG = "http://www.w3.org/2000/svg";
const PLAY_MILLISECONDS = 350;

function addSlider(figure) {
  const frames = [...figure.querySelectorAll(".frame")];
  const controls = figure.querySelector(".controls");
  if (!controls) return;
  const range = controls.querySelector("input");
  const play = controls.querySelector("button");
  const when = figure.querySelector(".when");
  let timer = 0;

  function show(index) {
    frames.forEach((frame, i) => { frame.hidden = i !== index; });
    when.textContent = frames[index].dataset.when;
    range.value = index;
    range.setAttribute("aria-valuetext", frames[index].dataset.when);
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    when.setAttribute("aria-live", "polite");
  }
  range.addEventListener("input", () => { stop(); show(Number(range.value)); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    play.textContent = "Stop";
    when.setAttribute("aria-live", "off");
    if (Number(range.value) === frames.length - 1) show(0);
    timer = setInterval(() => {
      const next = Number(range.value) + 1;
      if (next < frames.length) show(next);
      if (next >= frames.length - 1) stop();
    }, PLAY_MILLISECONDS);
  });
  show(frames.length - 1);
  controls.hidden = false;
}

function axis() {
  return document.getElementById("axis-hours")?.checked ? "hours" : "kimg";
}

function text(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  return size && (size < 1e-4 || size >= 1e7) ? value.toExponential(1) : value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function nearest(times, at) {
  let best = 0;
  times.forEach((time, i) => {
    if (Math.abs(time - at) < Math.abs(times[best] - at)) best = i;
  });
  return best;
}

function addTip(svg) {
  const { frame, spans, curves } = JSON.parse(svg.dataset.curves);
  const figure = svg.closest("figure");
  const tip = document.createElement("div");
  const line = document.createElementNS(SVG, "line");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  line.setAttribute("class", "cursor");
  line.setAttribute("y1", frame.top);
  line.setAttribute("y2", frame.bottom);
  figure.append(tip);

  function hide() {
    tip.hidden = true;
    line.remove();
  }
  function show(event) {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    if (x < frame.left - 4 || x > frame.right + 4) { hide(); return; }
    const unit = axis();
    const at = (x - frame.left) / (frame.right - frame.left) * spans[unit];
    const rows = curves.filter((curve) => curve[unit].length).map((curve) => {
      const i = nearest(curve[unit], at);
      const row = document.createElement("span");
      row.className = `c${curve.color}`;
      row.textContent = `${curve.label}: ${text(curve.values[i])}`;
      return row;
    });
    const head = document.createElement("b");
    head.textContent = `${text(at)} ${unit}`;
    tip.replaceChildren(head, ...rows);
    tip.hidden = false;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    svg.append(line);
    const around = figure.getBoundingClientRect();
    const left = event.clientX - around.left + 14;
    const room = around.width - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(4, left > room ? left - tip.offsetWidth - 28 : left)}px`;
    tip.style.top = `${box.top - around.top + 8}px`;
  }
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}

function markSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const inView = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) inView.add(entry.target.id); else inView.delete(entry.target.id);
    }
    const current = [...links.keys()].find((name) => inView.has(name));
    links.forEach((link, name) => {
      if (name === current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    });
  }, { rootMargin: "-20% 0px -60% 0px" });
  document.querySelectorAll("section[id]").forEach((section) => observer.observe(section));
}

document.querySelectorAll(".slider").forEach(addSlider);
document.querySelectorAll("svg[data-curves]").forEach(addTip);
markSections();
