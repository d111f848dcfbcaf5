// Players whose pictures are their time lines: a click seeks, a drag chooses a stretch.
const cardOf = (node) => node.closest(".piece");
const audioOf = (card) => card.querySelector("audio");
const secondsOf = (card) => Number(card.dataset.seconds);
const fields = (card) => [card.querySelector(".from"), card.querySelector(".to")];

function stretchOf(card) {
  const [from, to] = fields(card).map((field) => parseFloat(field.value));
  return to > from ? [Math.max(0, from), Math.min(to, secondsOf(card))] : null;
}

function showStretch(card) {
  const stretch = stretchOf(card);
  const [start, end] = stretch || [0, 0];
  const mark = card.querySelector(".stretch");
  mark.style.left = `${(100 * start) / secondsOf(card)}%`;
  mark.style.width = `${(100 * (end - start)) / secondsOf(card)}%`;
  card.classList.toggle("has-stretch", Boolean(stretch));
  card.querySelector('[data-mode="replace"]').disabled = !stretch;
}

function setStretch(card, start, end) {
  const [from, to] = fields(card);
  from.value = start === null ? "" : start.toFixed(2);
  to.value = end === null ? "" : end.toFixed(2);
  showStretch(card);
}

function showTime(card) {
  const { currentTime } = audioOf(card);
  card.querySelector(".now").textContent = currentTime.toFixed(1);
  card.querySelector(".head").style.left = currentTime ? `${(100 * currentTime) / secondsOf(card)}%` : "";
}

function follow(card) {
  const audio = audioOf(card);
  if (audio.paused || !card.isConnected) return;
  const stretch = stretchOf(card);
  if (stretch && audio.currentTime >= stretch[1]) {
    audio.pause();
    audio.currentTime = stretch[0];
  }
  showTime(card);
  requestAnimationFrame(() => follow(card));
}

function play(card) {
  const audio = audioOf(card);
  if (!audio.paused) return audio.pause();
  const stretch = stretchOf(card);
  const { currentTime } = audio;
  if (stretch && (currentTime < stretch[0] || currentTime >= stretch[1])) audio.currentTime = stretch[0];
  audio.play();
}

// What was typed or set by scripts outlasts the pieces that it was for.
watch("value", () => {
  for (const card of element.querySelectorAll(".piece")) {
    setStretch(card, null, null);
    showTime(card);
  }
});

element.addEventListener("click", ({ target }) => {
  const card = cardOf(target);
  if (!card) return;
  if (target.closest(".play")) play(card);
  if (target.closest(".clear")) setStretch(card, null, null);
  const button = target.closest("[data-mode]");
  if (button) {
    const { batch, piece } = card.dataset;
    trigger("ask", { batch: +batch, piece: +piece, mode: button.dataset.mode, stretch: stretchOf(card) });
  }
});

element.addEventListener("input", ({ target }) => {
  if (target.matches(".from, .to")) showStretch(cardOf(target));
});

element.addEventListener("pointerdown", (down) => {
  const score = down.target.closest(".score");
  if (!score || down.button) return;
  const card = cardOf(score);
  const box = score.getBoundingClientRect();
  const at = (event) =>
    Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * secondsOf(card);
  const first = at(down);
  let dragged = false;
  score.setPointerCapture(down.pointerId);
  const move = (event) => {
    dragged ||= Math.abs(event.clientX - down.clientX) > 4;
    if (dragged) setStretch(card, Math.min(first, at(event)), Math.max(first, at(event)));
  };
  const end = () => {
    score.removeEventListener("pointermove", move);
    if (dragged) return;
    audioOf(card).currentTime = first;
    showTime(card);
  };
  score.addEventListener("pointermove", move);
  score.addEventListener("pointerup", end, { once: true });
  score.addEventListener("pointercancel", end, { once: true });
});

// Events of audio do not bubble: they are caught on their way down.
element.addEventListener("play", ({ target }) => {
  for (const other of element.querySelectorAll("audio")) if (other !== target) other.pause();
  cardOf(target).classList.add("sounds");
  follow(cardOf(target));
}, true);
for (const kind of ["pause", "ended"]) {
  element.addEventListener(kind, ({ target }) => {
    cardOf(target).classList.remove("sounds");
    showTime(cardOf(target));
  }, true);
}
