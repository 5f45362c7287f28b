"use strict";

/* What all pages do: copy texts, and filter the cards of Collections. Nothing is stored, and nothing
   is sent. */

document.documentElement.classList.add("js");

(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  /* --- Copy ----------------------------------------------------------------------------------- */

  function selectText(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Without a secure context there is no clipboard: the text is selected, to be copied by hand.
      selectText(source);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 2000);
  }

  for (const button of all("[data-copy]")) {
    button.addEventListener("click", () => copy(button));
  }

  /* --- Filters -------------------------------------------------------------------------------- */

  const form = document.getElementById("filters");
  if (!form) return;

  const list = document.getElementById("cards");
  const cards = all(".card", list);
  const words = document.getElementById("words");
  const order = document.getElementById("order");
  const found = document.getElementById("found");
  const clear = document.getElementById("clear");
  const show = document.getElementById("show");
  const facets = all("fieldset", form).map((fieldset) => ({
    name: fieldset.dataset.facet,
    needsAll: fieldset.dataset.all === "1",
    boxes: all("input", fieldset),
  }));
  // Of each card, the number of Series by facet and value: lines such as "60 ct".
  const series = new Map(
    cards.map((card) => [
      card,
      Object.fromEntries(facets.map(({ name }) => [name, byValue(card.getAttribute(`data-${name}`))])),
    ]),
  );

  function byValue(lines) {
    const pairs = lines.split("\n").map((line) => line.match(/^(\d+) (.*)$/));
    return new Map(pairs.filter(Boolean).map(([, number, value]) => [value, Number(number)]));
  }

  function chosen() {
    return facets.map((facet) => ({
      ...facet,
      values: facet.boxes.filter((box) => box.checked).map((box) => box.value),
    }));
  }

  function matchesWords(card, terms) {
    return terms.every((term) => card.dataset.search.includes(term));
  }

  function fits(card, { name, needsAll, values }) {
    if (!values.length) return true;
    const has = (value) => series.get(card)[name].has(value);
    return needsAll ? values.every(has) : values.some(has);
  }

  const thin = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");
  const counted = (number) => `${thin(number)} ${number === 1 ? "Collection" : "Collections"}`;

  /* What each value of a facet would leave. Where one value is enough, the others of its facet do not
     count, because choosing one more adds Collections. */
  function countValues(facet, matching, wanted) {
    const others = wanted.filter((each) => each.needsAll || each.name !== facet.name);
    const left = matching.filter((card) => others.every((each) => fits(card, each)));
    const count = (value) =>
      left.reduce((sum, card) => sum + (series.get(card)[facet.name].get(value) ?? 0), 0);
    const counts = facet.boxes.map((box) => count(box.value));
    const most = Math.max(1, ...counts);
    facet.boxes.forEach((box, at) => {
      const label = box.closest("label");
      label.classList.toggle("none", counts[at] === 0);
      label.querySelector(".num").firstChild.nodeValue = thin(counts[at]);
      label.querySelector("rect").setAttribute("width", (100 * counts[at]) / most);
    });
  }

  function update() {
    const terms = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = chosen();
    const matching = cards.filter((card) => matchesWords(card, terms));
    const fitting = new Set(matching.filter((card) => wanted.every((each) => fits(card, each))));
    const shown = fitting.size;
    for (const card of cards) card.hidden = !fitting.has(card);
    for (const facet of facets) countValues(facet, matching, wanted);
    found.textContent = shown === cards.length ? counted(shown) : `${shown} of ${counted(cards.length)}`;
    show.textContent = `Show ${counted(shown)}`;
    show.disabled = shown === 0;
    clear.hidden = shown === cards.length && !terms.length && !wanted.some((w) => w.values.length);
    document.getElementById("nothing").hidden = shown > 0;
    remember(wanted);
  }

  function sort() {
    const name = order.value;
    const byName = (a, b) => a.dataset.name.localeCompare(b.dataset.name);
    const byNumber = (a, b) => Number(b.dataset[name]) - Number(a.dataset[name]) || byName(a, b);
    const byDay = (a, b) => b.dataset.updated.localeCompare(a.dataset.updated) || byName(a, b);
    cards.sort(name === "name" ? byName : name === "updated" ? byDay : byNumber);
    list.append(...cards);
  }

  /* The filters stand in the address, so that a link and the way back lead to the same cards. */
  function remember(wanted) {
    const state = new URLSearchParams();
    if (words.value) state.set("words", words.value);
    for (const { name, values } of wanted) values.forEach((value) => state.append(name, value));
    const text = state.toString();
    if (text === location.hash.slice(1) || (!text && !location.hash.includes("="))) return;
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  function recall() {
    if (!location.hash.includes("=")) return;
    const state = new URLSearchParams(location.hash.slice(1));
    words.value = state.get("words") ?? "";
    for (const { name, boxes } of facets) {
      const values = new Set(state.getAll(name));
      for (const box of boxes) {
        box.checked = values.has(box.value);
        const details = box.closest("details");
        if (box.checked && details) details.open = true;
      }
    }
  }

  // On a phone the cards come first; chosen filters stay in sight.
  if (matchMedia("(max-width: 60rem)").matches && !location.hash.includes("=")) {
    document.getElementById("facets").open = false;
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  order.addEventListener("change", sort);
  clear.addEventListener("click", () => {
    form.reset();
    update();
    words.focus();
  });
  // On a phone the filters stand above the cards, and fill the window while they are open.
  show.addEventListener("click", () => {
    document.getElementById("facets").open = false;
    found.scrollIntoView();
  });
  addEventListener("hashchange", () => {
    recall();
    update();
  });
  recall();
  sort();
  update();
})();
