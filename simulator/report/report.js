// Sorts, filters and chooses columns of the table of runs; everything is read from the table itself.
"use strict";
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const text = new Intl.Collator("en", { numeric: true });

  const full = (cell) => cell.title || cell.textContent;

  // Empty cells come last in both directions; ties keep the order they have.
  const sort = (index) => {
    const head = heads[index];
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = head.classList.contains("number") ? Number : (value) => value;
    const compare = key === Number ? (a, b) => a - b : text.compare;
    const keyed = [...body.rows].map((row) => [full(row.cells[index]), row]);
    const there = keyed.filter(([value]) => value !== "").map(([value, row]) => [key(value), row]);
    const empty = keyed.filter(([value]) => value === "");
    there.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    body.append(...[...there, ...empty].map(([, row]) => row));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = head.title;
    button.addEventListener("click", () => sort(index));
    head.replaceChildren(button);
  });

  // A run is found by who it is, not by the digits of its metrics.
  const who = heads.flatMap((head, index) => (head.dataset.group === "run" ? [index] : []));
  const words = rows.map((row) =>
    who.map((i) => `${row.cells[i].textContent} ${row.cells[i].title}`).join(" ").toLowerCase());
  const input = document.getElementById("filter");
  const count = document.getElementById("count");
  const filter = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, index) => { row.hidden = !wanted.every((word) => words[index].includes(word)); });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} runs`;
  };
  input.addEventListener("input", filter);

  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [sheet];
  const boxes = heads.map((head) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = "shown" in head.dataset;
    label.append(box, ` ${head.textContent}`);
    document.getElementById("columns").append(label);
    return box;
  });
  const choose = () => {
    const hidden = boxes.flatMap((box, i) => (box.checked ? [] : [`#table tr > :nth-child(${i + 1})`]));
    sheet.replaceSync(hidden.length ? `${hidden.join(", ")} { display: none }` : "");
  };
  document.getElementById("columns").addEventListener("change", choose);

  filter();
  choose();
  document.getElementById("tools").hidden = false;
})();
