"use strict";
document.documentElement.classList.add("scripted");

// Tables: a click on a heading sorts, a second click turns the order round; missing values stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("n");
    const first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.value !== undefined ? Number(cell.dataset.value) : numeric ? null : cell.textContent.trim();
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
    });
    body.append(...rows.map(([, row]) => row));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
  }));
}
for (const filter of document.querySelectorAll("[data-filter]")) {
  const body = document.getElementById(filter.dataset.filter).tBodies[0];
  const apply = () => {
    const role = filter.querySelector("input:checked").value;
    for (const row of body.rows) row.hidden = role !== "" && row.dataset.role !== role;
  };
  filter.addEventListener("change", apply);
  apply();
}
for (const box of document.querySelectorAll("[data-more]")) {
  const table = document.getElementById(box.dataset.more);
  box.addEventListener("change", () => table.classList.toggle("with-more", box.checked));
}

// Maps: which layers are seen, and which part of the region.
for (const map of document.querySelectorAll(".map")) {
  const form = map.querySelector("form");
  const svg = map.querySelector(".canvas > svg");
  const show = (node, wanted) => node.classList.toggle("off", !wanted);
  const layers = () => {
    const data = new FormData(form);
    const mode = data.get("mode");
    const lines = data.getAll("lines");
    for (const node of svg.querySelectorAll("[data-image]")) show(node, node.dataset.image === data.get("image"));
    for (const node of svg.querySelectorAll("[data-mode]")) {
      show(node, node.dataset.mode === mode && node.dataset.for.split(" ").includes(data.get("prediction")));
    }
    for (const node of svg.querySelectorAll("[data-lines]")) show(node, lines.includes(node.dataset.lines));
    for (const node of map.querySelectorAll("[data-key]")) {
      show(node, node.dataset.key === mode || lines.includes(node.dataset.key));
    }
  };
  form.addEventListener("change", layers);
  form.addEventListener("submit", (event) => event.preventDefault());
  layers();

  const whole = svg.viewBox.baseVal;
  const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
  let view = { ...full };
  const scale = map.querySelector(".scale");
  const draw = () => {
    view.x = Math.min(Math.max(view.x, full.x), full.x + full.width - view.width);
    view.y = Math.min(Math.max(view.y, full.y), full.y + full.height - view.height);
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    svg.classList.toggle("moved", view.width < full.width);
    // The picture may be narrower than its box, where the window is low.
    const perPixel = 1 / (svg.getScreenCTM()?.a || svg.clientWidth / view.width || 1);
    svg.style.setProperty("--unit", perPixel);
    const metres = Number(map.dataset.pixelM) * perPixel;
    const limit = 0.2 * svg.clientWidth * metres;
    const decade = 10 ** Math.floor(Math.log10(limit));
    const length = [5, 2, 1].map((factor) => factor * decade).find((nice) => nice <= limit);
    scale.style.width = `${length / metres}px`;
    scale.firstElementChild.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  };
  const zoom = (factor, at) => {
    const centre = at || { x: view.x + view.width / 2, y: view.y + view.height / 2 };
    const width = factor === 0 ? full.width : Math.min(full.width, Math.max(full.width / 40, view.width * factor));
    const ratio = width / view.width;
    view = {
      x: centre.x - (centre.x - view.x) * ratio, y: centre.y - (centre.y - view.y) * ratio,
      width, height: width * full.height / full.width,
    };
    draw();
  };
  const place = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  for (const button of map.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  svg.addEventListener("dblclick", (event) => zoom(0.6, place(event)));
  // The wheel scrolls the page; with Ctrl (or two fingers on a touchpad) it zooms the map.
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, place(event));
  }, { passive: false });
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (view.width < full.width) { held = place(event); svg.setPointerCapture(event.pointerId); }
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const now = place(event);
    view.x += held.x - now.x;
    view.y += held.y - now.y;
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  svg.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") zoom(0.6);
    else if (event.key === "-") zoom(1.6667);
    else if (event.key === "0") zoom(0);
    else if (moves[event.key] && view.width < full.width) {
      view.x += moves[event.key][0] * view.width * 0.15;
      view.y += moves[event.key][1] * view.height * 0.15;
      draw();
    } else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(svg);
}
