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
  const rows = filter.dataset.filter.split(" ").flatMap((id) => [...document.getElementById(id).tBodies[0].rows]);
  const apply = () => {
    const role = filter.querySelector("input:checked").value;
    for (const row of rows) row.hidden = role !== "" && row.dataset.role !== role;
  };
  filter.addEventListener("change", apply);
  apply();
}
for (const box of document.querySelectorAll("[data-more]")) {
  const table = document.getElementById(box.dataset.more);
  box.addEventListener("change", () => table.classList.toggle("with-more", box.checked));
}
// What is folded is printed too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
