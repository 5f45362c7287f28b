"use strict";

/* The table of a Collection's Series. Its rows and the library are loaded when the table comes near
   the window: a page is there at once, however many rows it has. */

(() => {
  const place = document.getElementById("table");
  const output = document.getElementById("selected");
  const search = document.getElementById("search");
  const buttons = document.querySelectorAll("[data-list]");
  let table = null;
  let terms = [];

  const thin = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

  function size(bytes) {
    if (bytes === null) return "–";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let value = bytes;
    let unit = 0;
    for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
    return `${unit ? value.toFixed(1) : value}\u202f${units[unit]}`;
  }

  /* --- Rows ----------------------------------------------------------------------------------- */

  async function unpack(text) {
    const packed = atob(text);
    const bytes = new Uint8Array(packed.length);
    // A function for each of the millions of bytes would take most of the time.
    for (let at = 0; at < packed.length; at += 1) bytes[at] = packed.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function toRows(columns) {
    const names = Object.keys(columns);
    const { values = [], places = values } = columns[names[0]] ?? {};
    const rows = places.map(() => ({}));
    for (const name of names) {
      const { values: own, words, places: at } = columns[name];
      rows.forEach((row, number) => {
        row[name] = own ? own[number] : (words[at[number]] ?? null);
      });
    }
    return rows;
  }

  function load(source) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error(`${source} cannot be read`)));
      document.head.append(script);
    });
  }

  function readRows() {
    return new Promise((resolve, reject) => {
      globalThis.catalogue = { rows: (text) => unpack(text).then(toRows).then(resolve, reject) };
      load(place.dataset.rows).catch(reject);
    });
  }

  /* --- The table ------------------------------------------------------------------------------ */

  // Texts are set as text, never as HTML.
  function textCell(show) {
    return (cell) => {
      const span = document.createElement("span");
      span.textContent = show(cell.getValue());
      span.title = span.textContent;
      return span;
    };
  }

  const plain = textCell((value) => value ?? "");
  const numeric = textCell((value) => (value === null ? "–" : thin(value)));

  // Of a Series on disk, a link to its page.
  function linkCell(cell) {
    const row = cell.getData();
    if (!row.on_disk || !place.dataset.pages) return plain(cell);
    const link = document.createElement("a");
    link.href = `${place.dataset.pages}${encodeURIComponent(row.SeriesInstanceUID)}.html`;
    link.textContent = cell.getValue() || row.Modality || "Series";
    link.title = link.textContent;
    return link;
  }

  // Those of the library read each value anew each time that it is compared.
  const byText = new Intl.Collator("en").compare;
  const textSorter = (a, b) => byText(a ?? "", b ?? "");
  const numberSorter = (a, b) => (a ?? -1) - (b ?? -1);

  function columns(rows) {
    const has = (name) => rows.some((row) => row[name] !== null && row[name] !== "");
    const filter = { headerFilter: "input", sorter: textSorter };
    const kept = new Set(["SeriesInstanceUID", "SeriesDescription"]);
    // On a phone, columns that stay would leave no room for the others.
    const isWide = place.clientWidth > 700;
    const text = (title, field, width) => ({ title, field, width, formatter: plain, ...filter });
    const number = (title, field, width, formatter) => ({
      title,
      field,
      width,
      formatter,
      hozAlign: "right",
      headerHozAlign: "right",
      sorter: numberSorter,
    });
    return [
      {
        formatter: "rowSelection",
        titleFormatter: "rowSelection",
        titleFormatterParams: { rowRange: "active" },
        headerSort: false,
        width: 40,
        resizable: false,
        hozAlign: "center",
        headerHozAlign: "center",
        frozen: isWide,
      },
      { ...text("Description", "SeriesDescription", 210), formatter: linkCell, frozen: isWide },
      {
        title: "On disk",
        field: "on_disk",
        width: 85,
        formatter: textCell((value) => (value ? "yes" : "")),
        sorter: numberSorter,
      },
      text("Modality", "Modality", 95),
      text("Body part", "BodyPartExamined", 105),
      text("Patient", "PatientID", 150),
      text("Sex", "PatientSex", 65),
      text("Age", "PatientAge", 70),
      text("Study date", "StudyDate", 110),
      number("Images", "ImageCount", 85, numeric),
      number("Size", "FileSize", 90, textCell(size)),
      text("Maker", "Manufacturer", 150),
      text("Model", "ManufacturerModelName", 140),
      {
        title: "SeriesInstanceUID",
        field: "SeriesInstanceUID",
        minWidth: 420,
        formatter: linkCell,
        cssClass: "uid",
        ...filter,
      },
    ].filter(({ field }) => !field || kept.has(field) || has(field));
  }

  function matches(row) {
    const text = Object.values(row).join("\n").toLowerCase();
    return terms.every((term) => text.includes(term));
  }

  function wanted() {
    const selected = table.getSelectedData();
    return selected.length ? selected : table.getData("active");
  }

  function tell() {
    const selected = table.getSelectedData().length;
    const active = table.getDataCount("active");
    const total = Number(place.dataset.count);
    const shown = active === total ? `${thin(total)} Series` : `${thin(active)} of ${thin(total)} Series`;
    output.textContent = selected ? `${thin(selected)} selected of ${shown}` : shown;
    for (const button of buttons) button.disabled = !selected && !active;
  }

  // Tabulator leaves some roles and names out, without which a screen reader has no table.
  function nameParts() {
    for (const input of place.querySelectorAll("input:not([aria-label])")) {
      const title = input.closest(".tabulator-col")?.querySelector(".tabulator-col-title");
      const isBox = input.type === "checkbox";
      const label = isBox ? "Select this Series" : `Filter by ${title?.textContent ?? "value"}`;
      input.setAttribute("aria-label", label);
    }
    const all = place.querySelector(".tabulator-header input[type=checkbox]");
    all?.setAttribute("aria-label", "Select all Series that are shown");
    // Without this, only a mouse can sort.
    for (const header of place.querySelectorAll(".tabulator-col.tabulator-sortable")) {
      header.tabIndex = 0;
    }
    // Its boxes and links take the focus; a grid may not have it beside them.
    place.querySelector(".tabulator-tableholder")?.removeAttribute("tabindex");
  }

  function sortByKey(event) {
    if (event.key !== "Enter" && event.key !== " ") return;
    if (!event.target.matches(".tabulator-col.tabulator-sortable")) return;
    event.preventDefault();
    event.target.click();
  }

  // The pages of the table stand below it: in it they would be no part of a grid.
  function makePager() {
    const pager = document.createElement("div");
    pager.className = "pager";
    const counter = document.createElement("span");
    pager.append(counter);
    place.after(pager);
    return { paginationElement: pager, paginationCounterElement: counter };
  }

  function make(rows) {
    place.setAttribute("aria-label", "Series");
    table = new Tabulator(place, {
      data: rows,
      columns: columns(rows),
      index: "SeriesInstanceUID",
      height: Math.min(560, 125 + 29 * Math.max(rows.length, 3)),
      layout: "fitDataStretch",
      pagination: true,
      paginationSize: 100,
      paginationSizeSelector: [25, 100, 500],
      paginationCounter: "rows",
      ...makePager(),
      selectableRows: true,
      headerFilterLiveFilterDelay: 250,
      placeholder: "No Series match",
      columnDefaults: { headerTooltip: true, vertAlign: "middle" },
    });
    place.addEventListener("keydown", sortByKey);
    table.on("tableBuilt", () => {
      tell();
      nameParts();
      place.dataset.state = "ready";
    });
    table.on("dataFiltered", () => setTimeout(tell));
    table.on("rowSelectionChanged", tell);
    table.on("renderComplete", nameParts);
    search.addEventListener("input", () => {
      terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (terms.length) table.setFilter(matches);
      else table.clearFilter(false);
    });
  }

  async function start() {
    if (place.dataset.state) return;
    place.dataset.state = "loading";
    place.textContent = "The Series are loaded …";
    try {
      const [rows] = await Promise.all([readRows(), load(place.dataset.library)]);
      place.textContent = "";
      make(rows);
    } catch (error) {
      place.dataset.state = "failed";
      place.textContent = `The table cannot be shown: ${error.message}`;
    }
  }

  /* --- Lists to download ---------------------------------------------------------------------- */

  function csvCell(value) {
    const text = String(value ?? "");
    // A spreadsheet would take these for formulas.
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  const lists = {
    csv: (rows) => {
      const names = Object.keys(rows[0] ?? { SeriesInstanceUID: "" });
      const lines = rows.map((row) => names.map((name) => csvCell(row[name])).join(","));
      return [".csv", "text/csv", [names.join(","), ...lines]];
    },
    tcia: (rows) => [
      ".tcia",
      "text/plain",
      [
        "downloadServerUrl=https://public.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet",
        "includeAnnotation=true",
        "noOfrRetry=4",
        `databasketId=${place.dataset.name}.tcia`,
        "manifestVersion=3.0",
        "ListOfSeriesToDownload=",
        ...rows.map((row) => row.SeriesInstanceUID),
      ],
    ],
    uids: (rows) => [
      "-uids.csv",
      "text/csv",
      ["SeriesInstanceUID", ...rows.map((row) => row.SeriesInstanceUID)],
    ],
  };

  function save(kind) {
    const [ending, type, lines] = lists[kind](wanted());
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type }));
    link.download = `${place.dataset.name}${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const button of buttons) {
    button.addEventListener("click", async () => {
      await start();
      if (table) save(button.dataset.list);
    });
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      start();
    },
    { rootMargin: "600px" },
  );
  watcher.observe(place);
})();
