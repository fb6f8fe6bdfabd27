"use strict";

const scenes = JSON.parse(document.getElementById("content").textContent);
const canvases = [...document.querySelectorAll("canvas")];
const told = [...document.querySelectorAll(".told")];
const play = document.getElementById("play"), time = document.getElementById("time"), speed = document.getElementById("speed");

const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const times = (a, k) => [a[0] * k, a[1] * k, a[2] * k];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const size = (a) => Math.sqrt(dot(a, a));
const unit = (a) => times(a, 1 / (size(a) || 1));

// Quaternions are w, x, y, z.
function turned(q, v) {
  const u = [q[1], q[2], q[3]], t = times(cross(u, v), 2);
  return add(add(v, times(t, q[0])), cross(u, t));
}
function after(a, b) {
  return [
    a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3], a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
    a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1], a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
  ];
}

function poseOf(frame, link) {
  return link < 0 ? [[0, 0, 0], [1, 0, 0, 0]] : [frame.slice(7 * link, 7 * link + 3), frame.slice(7 * link + 3, 7 * link + 7)];
}
function placed(frame, geom) {
  const [p, q] = poseOf(frame, geom.link);
  return [add(p, turned(q, geom.pose.slice(0, 3))), after(q, geom.pose.slice(3, 7))];
}
const reach = (geom) => ({ sphere: geom.size[0], capsule: geom.size[0] + geom.size[1], cylinder: Math.hypot(geom.size[0], geom.size[1]) })[geom.shape]
  ?? (geom.shape === "mesh" ? Math.max(...geom.points.map(size)) : size(geom.size));

// What the camera looks at: the middle of what moves, followed along the ground.
function middle(scene, frame) {
  const links = frame.length / 7;
  let sum = [0, 0, 0];
  for (let k = 0; k < links; k++) sum = add(sum, frame.slice(7 * k, 7 * k + 3));
  return links ? times(sum, 1 / links) : [0, 0, 0];
}
function cameraOf(scene) {
  const first = scene.frames[0], at = middle(scene, first), solid = scene.geoms.filter((g) => g.shape !== "plane" && g.link >= 0);
  let extent = 0.1, flat = 0;
  for (const geom of solid) {
    const [p] = placed(first, geom), far = sub(p, at);
    extent = Math.max(extent, size(far) + reach(geom));
    flat = Math.max(flat, Math.abs(far[2]) + geom.size[0]);
  }
  const above = flat < 0.35 * extent && extent < 2;  // an arm on a table
  return { azimuth: -Math.PI / 2, elevation: above ? 1.0 : 0.22, distance: 3.4 * extent, height: at[2], extent, at: at.slice() };
}
const cameras = scenes.map(cameraOf);

function viewOf(camera, canvas) {
  const { azimuth, elevation, distance, at } = camera;
  const back = [Math.cos(elevation) * Math.cos(azimuth), Math.cos(elevation) * Math.sin(azimuth), Math.sin(elevation)];
  const eye = add(at, times(back, distance)), forward = times(back, -1);
  const right = unit(cross(forward, [0, 0, 1])), up = cross(right, forward);
  const focal = 1.4 * Math.min(canvas.width * 0.8, canvas.height), near = 0.02 * distance;
  const seen = (p) => {
    const d = sub(p, eye), z = dot(d, forward);
    return z < near ? null : [canvas.width / 2 + (focal * dot(d, right)) / z, canvas.height / 2 - (focal * dot(d, up)) / z, z, focal / z];
  };
  return { eye, seen, forward };
}

const light = unit([-0.4, -0.7, 1]);
function shade(colour, amount) {
  const part = (c) => Math.round(255 * Math.min(1, c * amount));
  return `rgba(${part(colour[0])},${part(colour[1])},${part(colour[2])},${colour[3]})`;
}

function facesOf(geom) {
  const [a, b, c] = geom.size;
  if (geom.shape === "box") {
    const corner = (i) => [i & 1 ? a : -a, i & 2 ? b : -b, i & 4 ? c : -c];
    return [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]].map((face) => face.map(corner));
  }
  if (geom.shape === "cylinder") {
    const ring = (z) => Array.from({ length: 18 }, (_, k) => [a * Math.cos((k * Math.PI) / 9), a * Math.sin((k * Math.PI) / 9), z]);
    const low = ring(-b), high = ring(b);
    return [high, low.slice().reverse(), ...low.map((p, k) => [p, low[(k + 1) % 18], high[(k + 1) % 18], high[k]])];
  }
  return geom.faces.map((face) => face.map((k) => geom.points[k]));
}

function itemsOf(scene, frame, view) {
  const items = [];
  for (const geom of scene.geoms) {
    if (geom.shape === "plane") continue;
    const [p, q] = placed(frame, geom);
    if (geom.shape === "sphere" || geom.shape === "capsule") {
      const half = geom.shape === "capsule" ? turned(q, [0, 0, geom.size[1]]) : [0, 0, 0];
      const ends = [add(p, half), sub(p, half)].map(view.seen);
      if (ends.every(Boolean)) items.push({ depth: (ends[0][2] + ends[1][2]) / 2, draw: (g) => capsule(g, ends, geom) });
      continue;
    }
    geom.parts ??= facesOf(geom);
    for (const part of geom.parts) {
      const points = part.map((v) => add(p, turned(q, v))), normal = unit(cross(sub(points[1], points[0]), sub(points[2], points[0])));
      const shown = points.map(view.seen);
      if (!shown.every(Boolean) || dot(normal, sub(points[0], view.eye)) > 0) continue;
      const colour = shade(geom.colour, 0.62 + 0.42 * Math.max(0, dot(normal, light)));
      const depth = shown.reduce((sum, s) => sum + s[2], 0) / shown.length;
      items.push({ depth, draw: (g) => polygon(g, shown, colour) });
    }
  }
  return items.sort((a, b) => b.depth - a.depth);
}

function polygon(g, points, colour) {
  g.beginPath();
  points.forEach((s, k) => (k ? g.lineTo(s[0], s[1]) : g.moveTo(s[0], s[1])));
  g.closePath();
  g.fillStyle = g.strokeStyle = colour;
  g.lineWidth = 1;
  g.fill();
  g.stroke();
}

function capsule(g, [a, b], geom) {
  const ra = geom.size[0] * a[3], rb = geom.size[0] * b[3], along = Math.atan2(b[1] - a[1], b[0] - a[0]);
  const x = -Math.sin(along), y = Math.cos(along), side = 0.5 * x + 0.85 * y > 0 ? -1 : 1;  // lit from above, and from the left
  const gradient = g.createLinearGradient(a[0] + side * x * ra, a[1] + side * y * ra, a[0] - side * x * ra, a[1] - side * y * ra);
  gradient.addColorStop(0, shade(geom.colour, 1.12));
  gradient.addColorStop(0.45, shade(geom.colour, 0.95));
  gradient.addColorStop(1, shade(geom.colour, 0.58));
  g.beginPath();
  g.arc(a[0], a[1], ra, along + Math.PI / 2, along - Math.PI / 2);
  g.arc(b[0], b[1], rb, along - Math.PI / 2, along + Math.PI / 2);
  g.closePath();
  g.fillStyle = gradient;
  g.fill();
  g.strokeStyle = shade(geom.colour, 0.42);
  g.lineWidth = Math.max(0.6, 0.05 * Math.min(ra, rb));
  g.stroke();
}

function ground(g, scene, camera, view, frame, line) {
  if (!scene.geoms.some((geom) => geom.shape === "plane")) return;
  const cell = 2 ** Math.round(Math.log2(camera.extent / 2)), n = 14;
  const [cx, cy] = [Math.round(camera.at[0] / cell), Math.round(camera.at[1] / cell)];
  g.strokeStyle = line;
  for (let k = -n; k <= n; k++) {
    for (const flip of [false, true]) {
      const ends = [-n, n].map((m) => (flip ? [(cx + m) * cell, (cy + k) * cell, 0] : [(cx + k) * cell, (cy + m) * cell, 0]));
      const parts = 12;
      for (let j = 0; j < parts; j++) {
        const between = (t) => view.seen(add(ends[0], times(sub(ends[1], ends[0]), t)));
        const [s, e] = [between(j / parts), between((j + 1) / parts)];
        if (!s || !e) continue;
        g.globalAlpha = Math.max(0.06, Math.min(0.9, (1.6 * camera.distance) / (s[2] + 0.3 * camera.distance) - 0.4));
        g.lineWidth = 1;
        g.beginPath();
        g.moveTo(s[0], s[1]);
        g.lineTo(e[0], e[1]);
        g.stroke();
      }
    }
  }
  g.globalAlpha = 0.13;
  g.strokeStyle = g.fillStyle = "#000";
  g.lineCap = "round";
  for (const geom of scene.geoms) {
    if (geom.link < 0 || geom.shape === "plane") continue;
    const [p, q] = placed(frame, geom), half = turned(q, [0, 0, geom.shape === "sphere" || geom.shape === "box" ? 0 : geom.size[1] ?? 0]);
    const ends = [add(p, half), sub(p, half)].map((v) => view.seen([v[0], v[1], 0]));
    if (!ends.every(Boolean)) continue;
    g.lineWidth = 1.7 * geom.size[0] * ends[0][3];
    g.beginPath();
    g.moveTo(ends[0][0], ends[0][1]);
    g.lineTo(ends[1][0] + 0.01, ends[1][1]);
    g.stroke();
  }
  g.globalAlpha = 1;
}

const longest = Math.max(...scenes.map((scene) => scene.frames.length));
time.max = longest - 1;
let now = 0, playing = true, last = null;

function draw() {
  const style = getComputedStyle(document.documentElement), line = style.getPropertyValue("--line");
  scenes.forEach((scene, k) => {
    const canvas = canvases[k], scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const step = Math.min(Math.floor(now), scene.frames.length - 1), frame = scene.frames[step], camera = cameras[k];
    const at = middle(scene, frame);
    camera.at = [at[0], at[1], camera.height];
    const g = canvas.getContext("2d"), view = viewOf(camera, canvas);
    g.clearRect(0, 0, w, h);
    ground(g, scene, camera, view, frame, line);
    for (const item of itemsOf(scene, frame, view)) item.draw(g);
    const sum = scene.rewards.slice(0, step).reduce((a, b) => a + b, 0), end = step === scene.frames.length - 1;
    told[k].textContent = `step ${step} of ${scene.frames.length - 1}, return ${sum.toFixed(1)}${end ? (scene.ended ? ", ended" : ", cut at the horizon") : ""}`;
  });
  time.value = Math.floor(now);
}

function tick(stamp) {
  if (playing && last !== null) {
    now += ((stamp - last) / 1000 / scenes[0].seconds) * Number(speed.value);
    if (now > longest - 1 + 0.8 / scenes[0].seconds) now = 0;  // it stands at the end for a moment
  }
  last = stamp;
  draw();
  requestAnimationFrame(tick);
}

function pause(yes) {
  playing = !yes;
  play.textContent = playing ? "Pause" : "Play";
}
play.addEventListener("click", () => pause(playing));
time.addEventListener("input", () => { pause(true); now = Number(time.value); });
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, button") && event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  if (event.key === " ") { pause(playing); event.preventDefault(); }
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && !event.target.matches("input")) { pause(true); now = Math.max(0, Math.min(longest - 1, Math.floor(now) + by)); }
});

const asked = /^#(\d+)$/.exec(location.hash);  // motion.html#12 shows step 12, and waits
if (asked) {
  now = Math.min(Number(asked[1]), longest - 1);
  pause(true);
}

canvases.forEach((canvas, k) => {
  const camera = cameras[k], held = new Map();
  let apart = null;
  const come = (factor) => { camera.distance = Math.max(0.3 * camera.extent, Math.min(40 * camera.extent, camera.distance * factor)); };
  canvas.addEventListener("pointerdown", (event) => { held.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    held.set(event.pointerId, event);
    if (held.size > 1) {
      const [a, b] = [...held.values()], gap = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      if (apart) come(apart / gap);
      apart = gap;
      return;
    }
    camera.azimuth -= (event.clientX - before.clientX) * 0.008;
    camera.elevation = Math.max(-0.1, Math.min(1.5, camera.elevation + (event.clientY - before.clientY) * 0.008));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => { held.delete(event.pointerId); apart = null; });
  canvas.addEventListener("wheel", (event) => { come(Math.exp(event.deltaY * 0.001)); event.preventDefault(); }, { passive: false });
});

draw();
requestAnimationFrame(tick);
