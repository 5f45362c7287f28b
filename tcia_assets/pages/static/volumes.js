"use strict";

/* The images of a Series: its slices to scroll through as pictures, and on demand its volume in three
   planes, where the browser has WebGL. */

(() => {
  const viewer = document.getElementById("viewer");
  const stage = viewer.querySelector(".stage");
  const range = document.getElementById("slice");
  const position = document.getElementById("position");
  const open = document.getElementById("open");
  const opacity = document.getElementById("opacity");
  const share = document.getElementById("share");
  const { slices, script, library, colors } = viewer.dataset;
  const count = Number(viewer.dataset.count);
  const depth = Number(viewer.dataset.depth);
  const columns = Number(viewer.dataset.columns);
  const rows = Math.ceil(count / columns);
  let slice = null;

  /* --- Slices --------------------------------------------------------------------------------- */

  function place(index, of) {
    return of > 1 ? `${(100 * index) / (of - 1)}%` : "0%";
  }

  function makeSlice() {
    slice = document.createElement("div");
    slice.className = "slice";
    slice.setAttribute("role", "img");
    slice.style.backgroundImage = `url("${slices}")`;
    slice.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    stage.replaceChildren(slice);
  }

  function tell() {
    const number = Number(range.value);
    const own = count > 1 ? Math.round(((number - 1) * (depth - 1)) / (count - 1)) + 1 : 1;
    position.textContent = `${own} of ${depth}`;
    range.setAttribute("aria-valuetext", position.textContent);
    slice?.setAttribute("aria-label", `Slice ${position.textContent}`);
  }

  function show() {
    if (!slice) makeSlice();
    const number = Number(range.value) - 1;
    const column = place(number % columns, columns);
    slice.style.backgroundPosition = `${column} ${place(Math.floor(number / columns), rows)}`;
    tell();
  }

  function scroll(event) {
    if (viewer.dataset.state === "open") return;
    event.preventDefault();
    range.value = String(Number(range.value) + Math.sign(event.deltaY));
    show();
  }

  range.addEventListener("input", show);
  stage.addEventListener("wheel", scroll, { passive: false });
  tell();

  /* --- The volume ----------------------------------------------------------------------------- */

  function load(source) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = source;
      element.addEventListener("load", resolve);
      element.addEventListener("error", () => reject(new Error(`${source} cannot be read`)));
      document.head.append(element);
    });
  }

  function readVolume() {
    return new Promise((resolve, reject) => {
      globalThis.catalogue = { volume: (...texts) => resolve(texts.map(bytesOf)) };
      load(script).catch(reject);
    });
  }

  function bytesOf(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  }

  function hasWebGl() {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  }

  /* The colours of structures, as the pictures have them. */
  function colorMap() {
    const all = colors.split(" ").filter(Boolean);
    const part = (color, at) => Number.parseInt(color.slice(at, at + 2), 16);
    return {
      R: [0, ...all.map((color) => part(color, 1))],
      G: [0, ...all.map((color) => part(color, 3))],
      B: [0, ...all.map((color) => part(color, 5))],
      A: [0, ...all.map(() => 255)],
      I: [0, ...viewer.dataset.numbers.split(" ").map(Number)],
      labels: ["", ...all.map(() => "")],
    };
  }

  async function makeViewer(canvas, [image, mask]) {
    const { Niivue, NVImage, SLICE_TYPE } = globalThis.niivue;
    const shown = new Niivue({
      backColor: [0, 0, 0, 1],
      show3Dcrosshair: false,
      crosshairColor: [0.42, 0.79, 0.81, 0.7],
      isRadiologicalConvention: true,
      isColorbar: false,
      loadingText: "",
    });
    await shown.attachToCanvas(canvas);
    const volume = await NVImage.loadFromUrl({
      url: image,
      name: "image.nii.gz",
      colormap: viewer.dataset.reversed === "1" ? "gray_inv" : "gray",
      cal_min: Number(viewer.dataset.low),
      cal_max: Number(viewer.dataset.high),
    });
    if (viewer.dataset.reversed === "1") {
      volume.colormap = "gray";
      volume.colormapInvert = true;
    }
    shown.addVolume(volume);
    if (mask && colors) {
      const overlay = await NVImage.loadFromUrl({ url: mask, name: "mask.nii.gz" });
      overlay.setColormapLabel(colorMap());
      shown.addVolume(overlay);
      showMask(shown);
    }
    shown.setSliceType(SLICE_TYPE.MULTIPLANAR);
    return shown;
  }

  /* The slider is there while a volume with a mask is, and begins in the middle each time. */
  function showMask(shown) {
    opacity.value = "50";
    opacity.oninput = () => {
      share.textContent = `${opacity.value}\u202f%`;
      opacity.setAttribute("aria-valuetext", share.textContent);
      shown.setOpacity(1, Number(opacity.value) / 100);
    };
    opacity.oninput();
    opacity.closest("label").hidden = false;
  }

  async function openVolume() {
    if (!hasWebGl()) {
      open.disabled = true;
      open.textContent = "This browser has no WebGL: the slices are all there is";
      return;
    }
    open.disabled = true;
    open.textContent = "The volume is opened …";
    const canvas = document.createElement("canvas");
    canvas.className = "volume";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The volume in three planes; drag to move the cross");
    try {
      const [texts] = await Promise.all([readVolume(), load(library)]);
      stage.replaceChildren(canvas);
      await makeViewer(canvas, texts);
      viewer.dataset.state = "open";
      range.closest("label").hidden = true;
      open.textContent = "Back to the slices";
      open.disabled = false;
      canvas.focus();
    } catch (error) {
      open.textContent = `The volume cannot be opened: ${error.message}`;
      viewer.dataset.state = "failed";
      slice = null;
      show();
    }
  }

  function closeVolume() {
    viewer.dataset.state = "";
    range.closest("label").hidden = false;
    opacity.closest("label").hidden = true;
    open.textContent = "Open the volume in three planes";
    slice = null;
    show();
  }

  open.addEventListener("click", () => {
    if (viewer.dataset.state === "open") closeVolume();
    else openVolume();
  });
})();
