"use strict";
document.documentElement.classList.add("js");

for (const box of document.querySelectorAll(".compare")) {
  const range = box.parentElement.querySelector("input");
  const show = (percent) => {
    range.value = percent;
    box.style.setProperty("--at", range.value + "%");
  };
  const drag = (event) => {
    const frame = box.getBoundingClientRect();
    show((100 * (event.clientX - frame.left)) / frame.width);
  };
  range.addEventListener("input", () => show(range.value));
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) drag(event);
  });
}

const pointsOf = (line) => {
  const drawn = [...line.querySelectorAll(".raw")].flatMap((part) => [...part.points].map((p) => [p.x, p.y]));
  const alone = [...line.querySelectorAll("circle")].map((dot) => [dot.cx.baseVal.value, dot.cy.baseVal.value]);
  return [...drawn, ...alone];
};

for (const figure of document.querySelectorAll(".chart")) {
  const svg = figure.querySelector("svg");
  const [left, right, bottom, top, last, low, high] = svg.dataset.axes.split(" ").map(Number);
  const isLog = svg.dataset.log !== undefined;
  const cursor = svg.querySelector(".cursor");
  const where = figure.querySelector(".where");
  const lines = [...svg.querySelectorAll(".line")].map(pointsOf);
  const shown = [...figure.querySelectorAll(".value")];
  const before = [where, ...shown].map((part) => part.textContent);
  const valueAt = (y) => {
    const share = (y - bottom) / (top - bottom);
    const value = isLog ? low * (high / low) ** share : low + share * (high - low);
    return Number(value.toPrecision(3)).toString();
  };
  const read = (event) => {
    const frame = svg.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * svg.viewBox.baseVal.width;
    const nearest = lines.map((points) =>
      points.reduce((best, point) => (best && Math.abs(best[0] - x) <= Math.abs(point[0] - x) ? best : point), null)
    );
    const found = nearest.filter(Boolean).sort((one, other) => Math.abs(one[0] - x) - Math.abs(other[0] - x));
    if (!found.length) return;
    const at = found[0][0];
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.classList.add("on");
    const step = Math.round(((at - left) / (right - left)) * last);
    where.textContent = "step " + Number(step.toPrecision(4)).toLocaleString("en");
    nearest.forEach((point, index) => {
      shown[index].textContent = point && Math.abs(point[0] - at) < 4 ? valueAt(point[1]) : "\u2013";
    });
  };
  svg.addEventListener("pointermove", read);
  svg.addEventListener("pointerdown", read);
  svg.addEventListener("pointerleave", () => {
    cursor.classList.remove("on");
    [where, ...shown].forEach((part, index) => (part.textContent = before[index]));
  });
}
