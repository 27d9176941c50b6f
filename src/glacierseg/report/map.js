"use strict";

// A path of "Mx yl dx dy ... z" rings becomes rings of map coordinates: x to the right, y upwards.
function ringsOf(path, unit, aspect) {
  return path.split("z").filter(Boolean).map((ring) => {
    const [start, steps] = ring.slice(1).split("l");
    let [x, y] = start.split(" ").map(Number);
    const moves = steps.split(" ").map(Number);
    const points = [[-y * aspect / unit, x / unit]];
    for (let i = 0; i < moves.length; i += 2) {
      x += moves[i];
      y += moves[i + 1];
      points.push([-y * aspect / unit, x / unit]);
    }
    return points;
  });
}

const UNITS = { km2: "km²", m: "m", deg: "°" };
function nameOf(column) {
  const [, name, unit] = column.match(/^(.*?)(?:_(km2|m|deg))?$/);
  return [name.replaceAll("_", " "), unit ? UNITS[unit] : ""];
}
function valueOf(value) {
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
}

for (const figure of document.querySelectorAll(".map")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const form = figure.querySelector("form");
  const box = figure.querySelector(".canvas");
  const told = figure.querySelector(".told");
  const bounds = L.latLngBounds([[-data.height * data.aspect, 0], [0, data.width]]);
  // Distances in metres make the scale bar right.
  const crs = L.extend({}, L.CRS.Simple, {
    distance: (a, b) => data.pixel_m * Math.hypot(a.lng - b.lng, a.lat - b.lat),
  });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const map = L.map(box, {
    crs, renderer: L.canvas({ padding: 0.3, tolerance: 3 }), attributionControl: false, scrollWheelZoom: false,
    zoomSnap: 0.25, zoomDelta: 0.75, wheelPxPerZoomLevel: 90, maxBoundsViscosity: 0.9, zoomControl: false,
    // Leaflet ends a zoom under way even when another view was asked for meanwhile; so zooms are at once.
    zoomAnimation: false, fadeAnimation: !calm, inertia: !calm, minZoom: -20, maxZoom: 20,
  });
  box.leaflet = map;
  // The whole region fills the map when it opens and when the window changes, until the reader moves it.
  let moved = false;
  const home = () => {
    map.fitBounds(bounds, { animate: false });
    moved = false;
  };
  const button = (text, label, act) => {
    const node = L.DomUtil.create("button", "leaflet-control-own");
    Object.assign(node, { type: "button", textContent: text, title: label });
    node.setAttribute("aria-label", label);
    L.DomEvent.disableClickPropagation(node);
    node.addEventListener("click", act);
    return node;
  };
  const place = (position, ...nodes) => {
    const control = L.control({ position });
    control.onAdd = () => { const bar = L.DomUtil.create("div", "leaflet-bar own"); bar.append(...nodes); return bar; };
    control.addTo(map);
  };
  place("topleft",
    button("+", "Zoom in", () => map.zoomIn()),
    button("−", "Zoom out", () => map.zoomOut()),
    button("⤢", "Show all", home));
  L.control.scale({ imperial: false, maxWidth: 140 }).addTo(map);
  const north = L.control({ position: "topright" });
  north.onAdd = () => figure.querySelector("template").content.firstElementChild.cloneNode(true);
  north.addTo(map);

  // Images become layers when they are first wanted: a page of many opens no slower.
  for (const [name, order] of [["image", 210], ["overlay", 220], ["lines", 410]]) {
    const pane = map.createPane(name);
    // The pointer goes through to the glaciers.
    Object.assign(pane.style, { zIndex: order, pointerEvents: "none" });
  }
  const made = new Map();
  const layer = (key, make) => made.get(key) || made.set(key, make()).get(key);
  const raster = (key, uri, pane, sharp) =>
    layer(key, () => L.imageOverlay(uri, bounds, { pane, className: sharp ? "sharp" : "", alt: "" }));
  let shown = new Set();
  let mixed = null;

  // An image mixed from three bands of the reader's choice.
  const decode = (number) => layer(`decoded ${number}`, async () => {
    const image = new Image();
    image.src = data.bands[number];
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  });
  const mix = async (numbers) => {
    const key = `mix ${numbers}`;
    mixed = key;
    const [red, green, blue] = await Promise.all(numbers.map(decode));
    const whole = new ImageData(red.width, red.height);
    for (let i = 0; i < whole.data.length; i += 4) {
      whole.data[i] = red.data[i];
      whole.data[i + 1] = green.data[i];
      whole.data[i + 2] = blue.data[i];
      whole.data[i + 3] = red.data[i] + green.data[i] + blue.data[i] > 6 ? 255 : 0;
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [red.width, red.height];
    canvas.getContext("2d").putImageData(whole, 0, 0);
    layer(key, () => L.imageOverlay(canvas.toDataURL("image/png"), bounds, { pane: "image", alt: "" }));
    if (mixed === key) update();
  };

  const outline = (entry, weight, colour) => {
    const rings = ringsOf(entry.path, 1, data.aspect);
    const options = { pane: "lines", renderer: lines, fill: false, interactive: false };
    return L.layerGroup([
      L.polygon(rings, { ...options, color: "#fff", weight: weight + 2.2, opacity: 0.8 }),
      L.polygon(rings, { ...options, color: colour, weight, dashArray: entry.dashes || null }),
    ]);
  };
  const lines = L.canvas({ pane: "lines", padding: 0.3 });
  const parts = () => L.layerGroup(data.roles.flatMap((role) => [
    outline(role, 2, role.colour),
    L.marker([-role.label_at[1] * data.aspect, role.label_at[0]], {
      interactive: false, keyboard: false, icon: L.divIcon({ className: "label", html: role.key, iconSize: null }),
    }),
  ]));

  // Glaciers: the pointer or the keys N and P choose one; its attributes are shown and read out.
  const plain = { color: "#0072b2", weight: 1.6, fillColor: "#0072b2", fillOpacity: 0 };
  const chosen = { color: "#cc79a7", weight: 3.5, fillOpacity: 0.18 };
  let glaciers = null;
  let current = -1;
  const words = (set, number) => set.columns
    .map((column, i) => [nameOf(column), set.rows[number][i]])
    .filter(([, value]) => value !== null)
    .map(([[name, unit], value]) => [name, `${valueOf(value)}${unit === "°" ? unit : unit && ` ${unit}`}`]);
  const tell = (number) => {
    if (!glaciers) return;
    if (current >= 0) glaciers.shapes[current]?.setStyle(plain);
    current = number;
    told.replaceChildren();
    if (number < 0) return;
    glaciers.shapes[number].setStyle(chosen).bringToFront();
    for (const [name, value] of words(glaciers.set, number)) {
      const entry = document.createElement("span");
      const label = document.createElement("b");
      label.textContent = name;
      entry.append(label, ` ${value}`);
      told.append(entry, " ");
    }
  };
  const table = (set, number) => {
    const list = document.createElement("table");
    for (const [name, value] of words(set, number)) {
      const row = list.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = value;
    }
    return list;
  };
  const outlines = (set) => {
    const shapes = set.paths.map((path, number) => {
      const shape = L.polygon(ringsOf(path, 4, data.aspect), { ...plain });
      shape.on("mouseover", () => tell(number));
      shape.bindTooltip(() => table(set, number), { sticky: true, className: "attributes", opacity: 1 });
      return shape;
    });
    return Object.assign(L.layerGroup(shapes), { set, shapes });
  };
  const step = (by) => {
    if (!glaciers?.shapes.length) return;
    const count = glaciers.shapes.length;
    tell(current < 0 ? (by > 0 ? 0 : count - 1) : (current + by + count) % count);
    const around = glaciers.shapes[current].getBounds();
    if (!map.getBounds().contains(around)) map.panInside(around.getCenter(), { padding: [60, 60] });
  };
  for (const node of figure.querySelectorAll("[data-step]")) {
    node.addEventListener("click", () => step(Number(node.dataset.step)));
  }

  const update = () => {
    const asked = new FormData(form);
    const [image, mode, kind] = [asked.get("image"), asked.get("mode"), asked.get("glaciers")];
    const prediction = asked.get("prediction") || "";
    const checked = asked.getAll("lines");
    const wanted = new Set();
    if (image === "mix") {
      const numbers = ["red", "green", "blue"].map((name) => Number(asked.get(name)));
      const ready = made.get(`mix ${numbers}`);
      if (ready) wanted.add(ready); else mix(numbers);
    } else if (data.images[image]) wanted.add(raster(`image ${image}`, data.images[image], "image", false));
    // Refined masks have no probability of their own: it is that of the raw one.
    const of = mode === "probability" ? prediction.replace(/-refined$/, "-raw") : prediction;
    const overlay = data.overlays[`${of}-${mode}`];
    if (overlay) wanted.add(raster(`overlay ${of} ${mode}`, overlay, "overlay", mode !== "probability"));
    if (checked.includes("truth") && data.truth) wanted.add(layer("truth", () => outline(data.truth, 1.4, "#1c2329")));
    if (checked.includes("roles")) wanted.add(layer("roles", parts));
    const set = data.glaciers[`${prediction}-${kind}`];
    const before = glaciers;
    glaciers = set ? layer(`glaciers ${prediction} ${kind}`, () => outlines(set)) : null;
    if (glaciers) wanted.add(glaciers);
    if (before !== glaciers) {
      if (before && current >= 0) before.shapes[current].setStyle(plain);
      current = -1;
      told.textContent = !set ? "" : set.left_out ?
        `the ${set.paths.length} largest of ${set.paths.length + set.left_out} outlines; the GeoPackage has all of them` :
        `${set.paths.length} outline${set.paths.length === 1 ? "" : "s"}`;
    }
    if (!set && kind) told.textContent = kind === "inventory" ?
      "no inventory of this prediction; choose a refined one" : "no outlines of this prediction";
    for (const old of shown) if (!wanted.has(old)) old.remove();
    for (const fresh of wanted) if (!shown.has(fresh)) fresh.addTo(map);
    shown = wanted;
    for (const node of figure.querySelectorAll("[data-key]")) {
      const key = node.dataset.key;
      node.classList.toggle("off", !(key === "glaciers" ? set : key === mode ? overlay : checked.includes(key)));
    }
    for (const node of figure.querySelectorAll(".mixer")) node.hidden = image !== "mix";
    for (const node of figure.querySelectorAll("[data-step]")) node.disabled = !set;
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());

  // Where the pointer is, in the coordinates of the scene.
  const here = figure.querySelector(".here");
  map.on("mousemove", ({ latlng }) => {
    const [a, b, c, d, e, f] = data.transform;
    const [x, y] = [latlng.lng, -latlng.lat / data.aspect];
    const digits = data.degrees ? 5 : 0;
    here.textContent = bounds.contains(latlng) ?
      `x ${(a * x + b * y + c).toFixed(digits)}, y ${(d * x + e * y + f).toFixed(digits)}` : "";
  });
  map.on("mouseout", () => { here.textContent = ""; });

  // The wheel scrolls the page until the map has the focus, by a click or the Tab key; with Ctrl it zooms at once.
  box.addEventListener("focusin", () => map.scrollWheelZoom.enable());
  box.addEventListener("focusout", () => map.scrollWheelZoom.disable());
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || map.scrollWheelZoom.enabled()) return;
    event.preventDefault();
    map.setZoomAround(map.mouseEventToContainerPoint(event), map.getZoom() - Math.sign(event.deltaY) * 0.5);
  }, { passive: false });
  box.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (key === "0") home();
    else if (key === "n") step(1);
    else if (key === "p") step(-1);
    else if (key === "escape") { tell(-1); return; }
    else return;
    event.preventDefault();
  });

  const fit = () => {
    map.invalidateSize({ animate: false });
    map.options.minZoom = -20;
    const least = map.getBoundsZoom(bounds);
    if (!moved) home();
    map.options.maxZoom = least + 6;
    map.setMinZoom(least - 0.5);
  };
  map.setView(bounds.getCenter(), 0, { animate: false });
  fit();
  map.setMaxBounds(bounds.pad(0.25));
  map.on("dragstart zoomstart", () => { moved = true; });
  new ResizeObserver(fit).observe(box);
  update();
}
